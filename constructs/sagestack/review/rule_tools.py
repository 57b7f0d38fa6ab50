"""Who finds what breaks a rule, by the names under which findings and acceptances are kept."""

AWS_SOLUTIONS = "cdk-nag AwsSolutions"
NIST = "cdk-nag NIST.800.53.R5"
CFN_LINT = "cfn-lint"
CLOUDFORMATION = "CloudFormation"
OWN = "sagestack"
