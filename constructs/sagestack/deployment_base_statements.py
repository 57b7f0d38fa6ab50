"""What CloudFormation does with what everything else stands on, as statements of a policy: roles, buckets, keys, parameters.

The actions are what CloudFormation's own resource handlers ask for, as far as our stacks use them:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html (`handlers`)
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from sagestack.policy_statements import QUALIFIER, TAGS, Scope, allow
from sagestack.settings.names import GUARDED_PATH


class BaseStatements(Scope):
    """The statements for what the stacks of one environment stand on, and for what no deployment may touch.

    What carries the environment's name is limited to it. KMS keys, which have ids for names, are limited to the account and the
    region.
    """

    def all(self, boundary_arn: str | None) -> list[iam.PolicyStatement]:
        """Roles, buckets, keys, parameters, and the guards.

        Args:
            boundary_arn: without which no role is made or given rights; None where the environment does without.
        """
        return [*self._roles(boundary_arn), *self._storage(), *self._guards()]

    def _roles(self, boundary_arn: str | None) -> list[iam.PolicyStatement]:
        roles = self.iam("role", self.names.stack_pattern)
        bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary_arn}} if boundary_arn else {}
        basics = self.stack.format_arn(
            service="iam",
            region="",
            account="aws",
            resource="policy",
            resource_name="service-role/AWSLambdaBasicExecutionRole",
        )
        return [
            allow("iam", ["CreateRole", "PutRolePermissionsBoundary", "PutRolePolicy"], roles, bounded),
            # The functions that CDK itself brings carry it.
            allow("iam", ["AttachRolePolicy"], roles, {**bounded, "ArnEquals": {"iam:PolicyARN": basics}}),
            allow(
                "iam",
                [
                    "DeleteRole",
                    "DeleteRolePolicy",
                    "DetachRolePolicy",
                    "GetRole*",
                    "ListAttachedRolePolicies",
                    "ListRolePolicies",
                    "TagRole",
                    "UntagRole",
                    "UpdateAssumeRolePolicy",
                    "UpdateRole*",
                ],
                roles,
            ),
            allow(
                "iam",
                ["PassRole"],
                roles,
                {
                    "StringEquals": {
                        "iam:PassedToService": [
                            f"{service}.amazonaws.com" for service in ("events", "lambda", "sagemaker", "states")
                        ]
                    }
                },
            ),
            # What scales endpoints: AWS makes it once per account, whoever needs it first.
            allow(
                "iam",
                ["CreateServiceLinkedRole"],
                self.iam("role", "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*"),
            ),
        ]

    def _storage(self) -> list[iam.PolicyStatement]:
        partition = self.stack.partition
        assets = f"cdk-{QUALIFIER}-assets-{self.stack.account}-{self.stack.region}"
        return [
            # The buckets, not what is in them.
            allow(
                "s3",
                [
                    "CreateBucket",
                    "DeleteBucket*",
                    "Get*Configuration",
                    "GetBucket*",
                    "ListBucket",
                    "Put*Configuration",
                    "PutBucket*",
                    *TAGS,
                ],
                f"arn:{partition}:s3:::{self.names.stack_pattern}",
            ),
            allow("s3", ["GetObject", "GetObjectVersion"], f"arn:{partition}:s3:::{assets}/*"),
            # A key has an id for a name, so all of the region's are meant; what is encrypted with them is not.
            allow("kms", ["CreateKey"], "*", self.here()),
            allow(
                "kms",
                [
                    "DescribeKey",
                    "DisableKey*",
                    "EnableKey*",
                    "GetKey*",
                    "ListResourceTags",
                    "PutKeyPolicy",
                    "ScheduleKeyDeletion",
                    "TagResource",
                    "UntagResource",
                    "UpdateKeyDescription",
                ],
                self.arn("kms", "key", "*"),
            ),
            allow("kms", ["CreateGrant"], self.arn("kms", "key", "*"), {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
            allow(
                "ssm",
                [
                    "AddTagsToResource",
                    "DeleteParameter*",
                    "GetParameter*",
                    "ListTagsForResource",
                    "PutParameter",
                    "RemoveTagsFromResource",
                ],
                self.arn("ssm", "parameter", f"sagestack/{self.names.environment}/*"),
            ),
            allow("ssm", ["GetParameters"], self.arn("ssm", "parameter", f"cdk-bootstrap/{QUALIFIER}/version")),
        ]

    def _guards(self) -> list[iam.PolicyStatement]:
        roles = self.iam("role", self.names.stack_pattern)
        return [
            # Whatever else the role is given: these are the account's, not a deployment's.
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                not_actions=["iam:Get*", "iam:List*", "sts:*"],
                resources=[
                    self.iam("policy", f"{GUARDED_PATH.strip('/')}/*"),
                    self.iam("role", f"{GUARDED_PATH.strip('/')}/*"),
                    self.iam("role", f"cdk-{QUALIFIER}-*"),
                    self.iam("oidc-provider", "*"),
                ],
            ),
            iam.PolicyStatement(
                effect=iam.Effect.DENY, actions=["iam:DeleteRolePermissionsBoundary"], resources=[roles]
            ),
        ]
