"""Changes as people make them, each with the verdict that an expert gave before the review was asked.

Each edits a copy of the project, whose environment `prod` serves version 3 of housing on two instances, scaled up to six. Those
of a workbench are in `recorded_workbench_changes`. An edit that finds nothing to change fails: a table of changes that nobody
makes any more would prove nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Edit = Callable[[Path], None]


@dataclass(frozen=True)
class Recorded:
    """One change, and what a reviewer must be told of it.

    Attributes:
        id: names it in the tests' output.
        edit: makes it.
        why: the expert's verdict in words.
        met: the conditions that it meets, of all that carry no number. `any-change` is met by every change that deploys anything.
        gravest: of the resources' changes: danger, warning, notice; None where no resource changes.
        dearer: whether it costs more (True), less (False), or the same (None) at the stated load.
        replaced: construct paths of what is replaced, all of them; `Endpoint/Alarms/*` is all below, and at least one.
        deleted: the same of what is deleted.
        says: what the review must say somewhere, in any case of letters.
        environment: which one is reviewed.
    """

    id: str
    edit: Edit
    why: str
    met: frozenset[str] = frozenset({"any-change"})
    gravest: str | None = "notice"
    dearer: bool | None = None
    replaced: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    says: tuple[str, ...] = field(default=())
    environment: str = "prod"


def replace(file: str, old: str, new: str, count: int = 1) -> Edit:
    """Puts `new` where `old` stands in a file; it must stand there `count` times."""

    def edit(root: Path) -> None:
        path = root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == count, f"{file} has {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new), encoding="utf-8")

    return edit


def write(file: str, text: str) -> Edit:
    """A file with this in it, and nothing else."""

    def edit(root: Path) -> None:
        (root / file).write_text(text, encoding="utf-8")

    return edit


def together(*edits: Edit) -> Edit:
    def edit(root: Path) -> None:
        for each in edits:
            each(root)

    return edit


def add_model(name: str, *environments: str) -> Edit:
    """A new folder of model code like housing's, and its entry in environments."""

    def edit(root: Path) -> None:
        shutil.copytree(root / "model_code/housing", root / "model_code" / name)
        for environment in environments:
            path = root / f"environments/{environment}.yaml"
            text = path.read_text(encoding="utf-8")
            entry = text[text.index("  housing:") :]
            lines = [line for line in entry.splitlines() if line.startswith("  ")]
            block = (
                "\n".join(lines)
                .replace("  housing:", f"  {name}:")
                .replace("served_version: 3", "served_version: null")
            )
            path.write_text(text.rstrip() + "\n" + block + "\n", encoding="utf-8")

    return edit


def prod(old: str, new: str) -> Edit:
    return replace("environments/prod.yaml", old, new)


AUTOSCALING = "      autoscaling: {min_capacity: 2, max_capacity: 6, invocations_per_instance: 600}\n"
IN_FOUNDATION = "        access_logs = AccessLogBucket(\n"
IN_SERVING = (
    '        role = SageMakerRole(self, "EndpointRole", description=f"What the endpoint of {model.name} may do")\n'
)


def in_foundation(code: str) -> Edit:
    """Code after the key of the foundation is made."""
    return replace("stacks/foundation.py", IN_FOUNDATION, code + IN_FOUNDATION)


def for_the_endpoint(code: str) -> Edit:
    """Code after the endpoint's role is made."""
    return replace("stacks/serving.py", IN_SERVING, IN_SERVING + code)


TLS = "            enforce_ssl=True,\n"
PRIVATE = (
    "            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,\n"
    "            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,\n"
    "            versioned=True"
)
"""How `buckets.py` writes the bucket for data, and not the one for access logs."""

NOTHING: frozenset[str] = frozenset()
ANY = frozenset({"any-change"})

RECORDED: tuple[Recorded, ...] = (
    Recorded(
        "only-a-comment",
        together(
            replace("stacks/foundation.py", IN_FOUNDATION, "        # Who reads is written down.\n" + IN_FOUNDATION),
            replace("environments/prod.yaml", "removal_policy: retain", "removal_policy: retain  # nothing is lost"),
        ),
        "Nothing is deployed: the review is silent.",
        met=NOTHING,
        gravest=None,
    ),
    Recorded(
        "only-documentation",
        write("README.md", "# Other words\n"),
        "Nothing is deployed.",
        met=NOTHING,
        gravest=None,
    ),
    Recorded(
        "policy-written-in-another-order",
        replace(
            "constructs/sagestack/roles.py",
            'actions=["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]',
            'actions=["logs:PutLogEvents", "logs:DescribeLogStreams", "logs:CreateLogStream", "logs:CreateLogGroup"]',
        ),
        "The same is allowed, in another order: nothing.",
        met=NOTHING,
        gravest=None,
    ),
    Recorded(
        "rename-of-a-buckets-construct",
        replace("stacks/foundation.py", '(("Data", None), ("Artifacts"', '(("Datasets", None), ("Artifacts"'),
        "A new, empty bucket takes the place of the one with the data, which stays, outside of the stack.",
        # Its accepted risk names the bucket, and its access logs are written to a place of their own.
        met=ANY | {"cannot-deploy", "replacement", "replacement-with-data", "iam-widening", "new-finding"},
        gravest="danger",
        replaced=frozenset({"Datasets", "Datasets/Policy"}),
        says=("Datasets", "stay"),
    ),
    Recorded(
        "rename-of-a-buckets-construct-that-is-not-kept",
        together(
            replace("stacks/foundation.py", '(("Data", None), ("Artifacts"', '(("Datasets", None), ("Artifacts"'),
            prod("removal_policy: retain", "removal_policy: destroy"),
        ),
        "Replaced; the old one is kept, as the policy that it was deployed with says, and the new one would not be.",
        # Its accepted risk names the bucket, and its access logs are written to a place of their own.
        met=ANY | {"cannot-deploy", "replacement", "replacement-with-data", "iam-widening", "new-finding"},
        gravest="danger",
        replaced=frozenset({"Datasets", "Datasets/Policy"}),
    ),
    Recorded(
        "retain-becomes-destroy",
        prod("removal_policy: retain", "removal_policy: destroy"),
        "Nothing happens now, but the next replacement or deletion takes the data along.",
        gravest="warning",
        says=("DeletionPolicy",),
    ),
    Recorded(
        "larger-instances",
        prod("instance_type: ml.m5.large\n      initial", "instance_type: ml.m5.xlarge\n      initial"),
        "A new configuration behind a watched canary; nobody notices but the bill.",
        met=ANY | {"replacement"},
        dearer=True,
        # What autoscaling is told is called after the instances that it is for.
        replaced=frozenset({"Endpoint/Config", "Endpoint/Scaling/Invocations"}),
        says=("ml.m5.xlarge",),
    ),
    Recorded(
        "more-instances",
        together(
            prod("initial_instance_count: 2", "initial_instance_count: 4"),
            prod("min_capacity: 2", "min_capacity: 4"),
        ),
        "Twice the instances at least, all the time.",
        met=ANY | {"replacement"},
        dearer=True,
        replaced=frozenset({"Endpoint/Config"}),
    ),
    Recorded(
        "a-new-version",
        prod("served_version: 3", "served_version: 4"),
        "What this project is for: a canary, watched by alarms, taken back if it is worse.",
        met=ANY | {"replacement"},
        says=("canary",),
        replaced=frozenset({"Endpoint/Config", "Endpoint/Model"}),
    ),
    Recorded(
        "no-version-any-more",
        prod("served_version: 3", "served_version: null"),
        "The serving stack leaves git, and `cdk deploy` does not delete it: the endpoint answers on, and nobody deploys it.",
        # What the life cycle of the bucket and the exports say changes in place.
        says=("sagestack-prod-housing-serving", "delete"),
    ),
    Recorded(
        "an-alarm-less",
        replace(
            "constructs/sagestack/rollback_alarms.py",
            """        self._alarm(
            f"Latency{group}",
            p99_latency_ms(variants),
            threshold=budget_ms,
            minutes=2,
            text=f"one request in a hundred took the model longer than {budget_ms:g} ms",
        )
""",
            "",
        ),
        "Updates that make the model slow are not taken back any more.",
        met=ANY | {"deletion"},
        gravest="warning",
        deleted=frozenset({"Endpoint/Alarms/Latency"}),
        says=("alarm",),
    ),
    Recorded(
        "no-canary",
        prod(AUTOSCALING, AUTOSCALING + "      update: {kind: all-at-once}\n"),
        "A bad version gets all requests at once; the alarms still take it back.",
        gravest="warning",
        says=("all",),
    ),
    Recorded(
        "key-policy-lets-another-account-in",
        in_foundation('        self.key.grant_decrypt(cdk.aws_iam.AccountPrincipal("999999999999"))\n'),
        "Another account can read everything that the environment encrypts.",
        met=ANY | {"iam-widening"},
        gravest="notice",
        says=("999999999999", "kms:Decrypt"),
    ),
    Recorded(
        "key-does-not-rotate",
        replace("stacks/foundation.py", "enable_key_rotation=True", "enable_key_rotation=False"),
        "A rule is broken that was kept.",
        met=ANY | {"new-finding"},
        says=("rotation",),
    ),
    Recorded(
        "endpoint-role-may-read-everything",
        for_the_endpoint('        role.add_to_policy(iam.PolicyStatement(actions=["s3:*"], resources=["*"]))\n'),
        "A container that is asked by anybody may read and delete every bucket of the account.",
        met=ANY | {"iam-widening", "new-finding"},
        says=("s3:*",),
    ),
    Recorded(
        "endpoint-role-may-do-less",
        replace("constructs/sagestack/roles.py", '"logs:CreateLogGroup", ', ""),
        "Less is allowed: no decision, but a line.",
        says=("logs:CreateLogGroup",),
    ),
    Recorded(
        "role-of-another-service",
        replace(
            "constructs/sagestack/roles.py",
            '"sagemaker.amazonaws.com",\n                conditions',
            '"ec2.amazonaws.com",\n                conditions',
        ),
        "Machines could take the endpoint's role, and SageMaker no more.",
        met=ANY | {"iam-widening"},
        says=("ec2.amazonaws.com",),
    ),
    Recorded(
        "anybody-may-take-a-role",
        for_the_endpoint(
            "        assert role.assume_role_policy is not None\n"
            "        role.assume_role_policy.add_statements(\n"
            '            iam.PolicyStatement(actions=["sts:AssumeRole"], principals=[iam.AnyPrincipal()])\n'
            "        )\n"
        ),
        "Anybody with an AWS account could take the role.",
        met=ANY | {"iam-widening", "public-access"},
        says=("*",),
    ),
    Recorded(
        "bucket-without-tls",
        replace(
            "constructs/sagestack/buckets.py",
            TLS + PRIVATE,
            PRIVATE,
        ),
        "A denial is gone, and with it the policy that said nothing else: data can be read unencrypted on the way.",
        met=ANY | {"iam-widening", "new-finding", "deletion"},
        deleted=frozenset({"Artifacts/Policy", "Data/Policy"}),
        says=("SecureTransport",),
    ),
    Recorded(
        "bucket-may-become-public",
        replace(
            "constructs/sagestack/buckets.py",
            PRIVATE,
            PRIVATE.replace("BLOCK_ALL", "BLOCK_ACLS_ONLY"),
        ),
        "What keeps a policy from opening the buckets to everybody is gone.",
        met=ANY | {"iam-widening", "public-access", "new-finding"},
        says=("public",),
    ),
    Recorded(
        "training-may-reach-the-network",
        replace(
            "constructs/sagestack/training_definition.py",
            '"EnableNetworkIsolation": True,\n',
            '"EnableNetworkIsolation": False,\n',
        ),
        "Code that trains could send the data anywhere.",
        met=ANY | {"new-finding"},
        says=("isolation",),
    ),
    Recorded(
        "a-new-model",
        add_model("cars", "prod"),
        "A stack of new things with roles of their own: worth a look, nothing is touched; what its runs cost is new.",
        met=ANY | {"iam-widening"},
        dearer=True,
        says=("sagestack-prod-cars-training",),
    ),
    Recorded(
        "longer-retention-of-logs",
        prod("access_log_days: 365", "access_log_days: 400"),
        "A life-cycle rule changes in place.",
    ),
    Recorded(
        "access-logs-are-kept-shorter",
        prod("access_log_days: 365", "access_log_days: 30"),
        "Nothing is deleted or replaced, and eleven months of logs are gone a day later.",
        met=ANY | {"data-loss"},
        gravest="danger",
        says=("older than 30 days", "365 days"),
    ),
    Recorded(
        "key-is-switched-off",
        replace("stacks/foundation.py", "enable_key_rotation=True", "enable_key_rotation=True, enabled=False"),
        "An update of one word, after which nobody reads anything.",
        met=ANY | {"interruption"},
        gravest="danger",
        says=("switched off",),
    ),
    Recorded(
        "key-of-several-regions",
        replace("stacks/foundation.py", "enable_key_rotation=True", "enable_key_rotation=True, multi_region=True"),
        "AWS refuses that for a key that is there: the deployment fails in each environment.",
        met=ANY | {"cannot-deploy"},
        gravest="danger",
        says=("the deployment fails", "MultiRegion"),
    ),
    Recorded(
        "may-shrink-to-one-instance",
        prod("min_capacity: 2", "min_capacity: 1"),
        "Half the bill at night, and no second instance when the first fails.",
        gravest="warning",
        dearer=False,
        says=("shrink to one instance",),
    ),
    Recorded(
        "alarm-that-hardly-rings",
        replace(
            "constructs/sagestack/rollback_alarms.py",
            '            minutes=2,\n            text=f"one request in a hundred',
            '            minutes=20,\n            text=f"one request in a hundred',
        ),
        "The alarm is there, and rings when the canary is over.",
        gravest="warning",
        says=("rings later",),
    ),
    Recorded(
        "other-tags",
        prod("environment: prod", "environment: production"),
        "Tags change in place.",
    ),
    Recorded(
        "other-hyperparameters",
        replace("model_code/housing/model.yaml", "max_depth: 5", "max_depth: 6"),
        "The pipeline's definition changes in place: the next run trains otherwise, what is served stays.",
    ),
    Recorded(
        "a-functions-code",
        replace("functions/deployment_gate/__init__.py", '"""Guards', '"""Really guards'),
        "Code of functions changes, nothing else; no caller notices.",
        says=("code",),
    ),
    Recorded(
        "pipeline-gets-another-name",
        replace(
            "constructs/sagestack/settings/names.py",
            '''    def pipeline(self) -> str:
        return f"{_PREFIX}-{self.environment}-{self.model}"''',
            '''    def pipeline(self) -> str:
        return f"{_PREFIX}-{self.environment}-{self.model}-pipeline"''',
        ),
        "A new pipeline under a new name; the old one goes, with its history of runs.",
        met=ANY | {"replacement", "replacement-with-data", "data-loss"},
        gravest="warning",
        replaced=frozenset({"Pipeline"}),
        says=("executions",),
    ),
    Recorded(
        "registry-gets-another-name",
        replace(
            "constructs/sagestack/settings/names.py",
            '''    def model_package_group(self) -> str:
        return f"{_PREFIX}-{self.environment}-{self.model}"''',
            '''    def model_package_group(self) -> str:
        return f"{_PREFIX}-{self.environment}-{self.model}-versions"''',
        ),
        "The registry that prod serves from is left behind with all its versions, and a new one begins at 1.",
        met=ANY | {"replacement", "replacement-with-data", "iam-widening"},
        gravest="danger",
        says=("version",),
        # A model names the registry that its version is in.
        replaced=frozenset({"Registry", "Endpoint/Config", "Endpoint/Model"}),
    ),
    Recorded(
        "endpoint-gets-another-name",
        replace(
            "constructs/sagestack/settings/names.py",
            '''nothing collides."""
        return f"{_PREFIX}-{self.environment}-{self.model}"''',
            '''nothing collides."""
        return f"{_PREFIX}-{self.environment}-{self.model}-x"''',
        ),
        "Callers ask a name that is gone.",
        met=ANY | {"replacement", "interruption", "iam-widening"},
        gravest="danger",
        says=("Endpoint",),
        # Alarms and scaling are called after it.
        replaced=frozenset({"Endpoint", "Endpoint/Alarms/*", "Endpoint/Scaling/*", "Probe/Alarm"}),
    ),
    Recorded(
        "from-instances-to-serverless",
        prod(
            "      kind: real-time\n      instance_type: ml.m5.large\n      initial_instance_count: 2\n" + AUTOSCALING,
            "      kind: serverless\n      memory_in_mb: 4096\n      max_concurrency: 20\n",
        ),
        "SageMaker does not take that update; and functions go with their logs.",
        met=ANY | {"cannot-deploy", "replacement", "deletion", "interruption", "data-loss"},
        gravest="danger",
        dearer=False,
        says=("serverless",),
        # Nothing to scale, and no fleet beside another that a probe could ask.
        replaced=frozenset({"Endpoint/Config", "Endpoint/Model"}),
        deleted=frozenset({"Endpoint/Scaling/*", "Probe/*"}),
    ),
    Recorded(
        "version-and-instances-at-once",
        together(
            prod("served_version: 3", "served_version: 4"),
            prod("instance_type: ml.m5.large\n      initial", "instance_type: ml.m5.xlarge\n      initial"),
        ),
        "Two changes of one endpoint in one deployment: if it is taken back, nobody knows which of them it was.",
        met=ANY | {"replacement"},
        dearer=True,
        says=("at once",),
        replaced=frozenset({"Endpoint/Config", "Endpoint/Model", "Endpoint/Scaling/Invocations"}),
    ),
    Recorded(
        "another-region",
        prod("region: us-east-1", "region: eu-west-1"),
        "Everything is made anew in Ireland; what is in Virginia stays there, with the data, and nobody deploys it any more.",
        met=ANY | {"iam-widening"},
        says=("eu-west-1", "us-east-1", "no price"),
    ),
)
