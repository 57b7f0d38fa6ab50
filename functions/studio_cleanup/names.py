"""What the function and the templates that deploy it must call by the same name."""

RESIDUE = "Custom::SagestackStudioResidue"
"""Before the domain: deleted after it, with what the domain left in the account."""
DOMAIN = "Custom::SagestackStudioDomainContents"
"""Right after the domain: deleted before it, with all that people made in it."""
PROFILE = "Custom::SagestackStudioProfileContents"
"""After a profile: deleted before it, with its apps and the spaces that the person made."""
SPACE = "Custom::SagestackStudioSpaceContents"
"""After a space: deleted before it, with its app."""

MANAGED_BY = "ManagedByAmazonSageMakerResource"
"""SageMaker's own tag, with the ARN of the domain, on the file system, security groups and network interfaces that it makes:
https://docs.aws.amazon.com/sagemaker/latest/dg/security-iam-awsmanpol-notebooks.html"""
MARK = "sagestack:studio"
"""Our tag on the same, with the stack's ID: the function's role reaches what carries it, and nothing else."""
KEPT = "kept"
"""Its value once home directories were kept: nobody deletes them but a person."""
