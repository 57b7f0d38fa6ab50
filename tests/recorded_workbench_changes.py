"""Changes of a workbench as people make them, each with the verdict that an expert gave before the review was asked.

Of `dev`, which has all that a workbench can have.
"""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path

from tests.recorded_changes import ANY, Edit, Recorded, replace, together


def dev(old: str, new: str) -> Edit:
    return replace("environments/dev.yaml", old, new)


def _without_studio(root: Path) -> None:
    file = root / "environments/dev.yaml"
    text = file.read_text(encoding="utf-8")
    begin, end = text.index("  studio:\n"), text.index("  personas:\n")
    file.write_text(text[:begin] + text[end:], encoding="utf-8")


_CHANGES: tuple[Recorded, ...] = (
    Recorded(
        "a-lifecycle-config-changes",
        dev("auto_stop: {idle_minutes: 60}", "auto_stop: {idle_minutes: 30}"),
        "Another script, which instances get when they start next, or in the maintenance window. Nobody loses anything, and"
        " that the file with its steps has another name is no other permission.",
        says=("sagestack-dev-explore at the next start", "maintenance window"),
    ),
    Recorded(
        "auto-stop-is-taken-out",
        dev("auto_stop: {idle_minutes: 120}", "environment_variables: {PROJECT: other}"),
        "Nothing stops the instance any more, all month.",
        gravest="warning",
        dearer=True,
        says=("sagestack-dev-review no longer stops by itself",),
    ),
    Recorded(
        "a-larger-notebook",
        dev("instance_type: ml.m5.xlarge", "instance_type: ml.m5.2xlarge"),
        "It is stopped for that and started again: who works in it loses what is in memory, and keeps the files.",
        met=ANY | {"interruption"},
        gravest="warning",
        dearer=True,
        says=("stopped for the update and started again",),
    ),
    Recorded(
        "a-notebook-gets-another-name",
        dev("    review:\n", "    reviewing:\n"),
        "Another instance, which is empty; the volume of the old one goes with it. Its role is another role.",
        met=ANY | {"replacement", "replacement-with-data", "data-loss", "interruption", "iam-widening"},
        gravest="danger",
        replaced=frozenset({"Notebook-reviewing", "NotebookRole-reviewing*", "NotebookRoleParameter-reviewing"}),
        says=("/home/ec2-user/SageMaker",),
    ),
    Recorded(
        "another-network",
        dev("cidr: 10.42.0.0/22", "cidr: 10.43.0.0/22"),
        "A network cannot change its addresses: all that is in it would be another one. Instances and domain have names that are"
        " taken, so the deployment fails; if it did not, volumes and spaces would be lost.",
        # Rules name addresses: those of the new network reach the endpoints in it.
        met=ANY
        | {"cannot-deploy", "replacement", "replacement-with-data", "data-loss", "interruption", "iam-widening"},
        gravest="danger",
        replaced=frozenset(
            {"Network", "Network/*", "FileSystem*", "Notebook-explore", "Notebook-review", "Studio", "Studio/*"}
        ),
        says=("the deployment fails", "already exists", "refuses what would replace it"),
    ),
    Recorded(
        "a-persona-may-approve",
        replace(
            "constructs/sagestack/workbench/personas/permissions.py",
            """            *self._registry([]),
            allow(
                "sagemaker",
                [f"{verb}PipelineExecution" for verb in ("Start", "Stop", "Retry")],
""",
            """            *self._registry(["UpdateModelPackage"]),
            allow(
                "sagemaker",
                [f"{verb}PipelineExecution" for verb in ("Start", "Stop", "Retry")],
""",
        ),
        "Who makes versions may now approve them.",
        met=ANY | {"iam-widening"},
        says=("UpdateModelPackage",),
    ),
    Recorded(
        "somebody-leaves-studio",
        together(dev(", grace: {}}", "}"), dev(", team: {owner: grace, sharing: shared}}", "}")),
        "The profile goes, and the space with its volume; the private spaces that the person made go with the profile.",
        met=ANY | {"deletion", "data-loss", "interruption"},
        gravest="danger",
        dearer=False,
        deleted=frozenset(
            {"Studio/Profile-grace*", "Studio/Space-team*", "StudioRole-grace*", "NotebookRoleParameter-studio-grace"}
        ),
        says=("what is on its volume", "private spaces", "storage volume of the space"),
    ),
    Recorded(
        "studio-is-given-up",
        _without_studio,
        "All that people have in Studio is deleted, home directories included, as `dev` keeps nothing.",
        met=ANY | {"deletion", "data-loss", "interruption"},
        gravest="danger",
        dearer=False,
        deleted=frozenset({"Studio", "Studio/*", "StudioRole*", "Network/Studio", "NotebookRoleParameter-studio*"}),
        says=("home directories", "nobody can open studio"),
    ),
    Recorded(
        "no-hours-any-more",
        dev(
            "      hours: {start: cron(0 8 ? * MON-FRI *), stop: cron(0 19 ? * * *), time_zone: Europe/Berlin}\n",
            "",
        ),
        "The notebook is stopped by auto-stop alone.",
        met=ANY | {"deletion"},
        gravest="warning",
        deleted=frozenset({"Hours/*"}),
        says=("nothing stops the notebook at its hours",),
    ),
    Recorded(
        "a-smaller-volume",
        dev("      lifecycle_config: steady\n", "      lifecycle_config: steady\n      volume_size_in_gb: 10\n"),
        "SageMaker makes volumes larger and never smaller: the deployment fails.",
        met=ANY | {"cannot-deploy", "interruption"},
        gravest="danger",
        dearer=False,
        says=("the deployment fails", "can grow and not shrink"),
    ),
    Recorded(
        "a-notebook-without-its-lifecycle-config",
        dev("      lifecycle_config: steady\n", ""),
        # The maintenance window restarts it no more: with that permission goes the denial that guarded it. Nobody may do more.
        "With it goes what stopped the instance: it runs all month.",
        met=ANY | {"interruption"},
        gravest="warning",
        dearer=True,
        says=("sagestack-dev-review no longer stops by itself",),
    ),
    Recorded(
        "from-more-networks",
        dev("source_ips: [203.0.113.0/24]", "source_ips: [203.0.112.0/22]"),
        "People come in from three more networks.",
        met=ANY | {"iam-widening"},
        says=("no longer denied", "203.0.113.0/24"),
    ),
    Recorded(
        "from-fewer-networks",
        dev("source_ips: [203.0.113.0/24]", "source_ips: [203.0.113.0/25]"),
        "Half of the network is shut out: nothing that somebody must decide.",
        says=("is now denied",),
    ),
    Recorded(
        "no-budget-any-more",
        dev("  budget: {monthly_usd: 200, emails: [ada@example.org]}\n", ""),
        "Nobody is told, and nothing is stopped, when it is too much; what stopped it goes with its log.",
        # What keeps a notebook stopped whose budget is spent is a denial.
        met=ANY | {"deletion", "data-loss", "iam-widening"},
        gravest="warning",
        deleted=frozenset({"Budget", "Budget/*"}),
        says=("nobody is warned any more", "is told no more"),
    ),
    Recorded(
        "no-way-out-any-more",
        dev(", nat: true", ""),
        "A notebook that clones from a host on the internet does not start any more.",
        met=ANY | {"deletion", "interruption"},
        gravest="danger",
        dearer=False,
        deleted=frozenset(
            {
                *("Network/Nat", "Network/Address", "Network/Attachment", "Network/InternetGateway", "Network/Public*"),
                "Network/Route",
            }
        ),
        says=("reaches the internet no more",),
    ),
)

WORKBENCH_CHANGES = tuple(changed(each, environment="dev") for each in _CHANGES)
