"""Reads and decides on the versions in a model's registry."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sagestack.cli import step_outputs
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session

APPROVED = "Approved"
PENDING = "PendingManualApproval"
REJECTED = "Rejected"


@dataclass(frozen=True)
class Version:
    """A registered version of a model."""

    number: int
    arn: str
    approval: str
    status: str
    created: datetime.datetime

    def as_json(self, metrics: dict[str, float] | None = None) -> dict[str, Any]:
        document: dict[str, Any] = {
            "version": self.number,
            "arn": self.arn,
            "approval": self.approval,
            "status": self.status,
            "created": self.created,
        }
        return document if metrics is None else {**document, "metrics": metrics}


def group_name(session: Session, model: str) -> str:
    """The name of a model's group in the registry.

    Raises:
        CliError: the environment is not deployed.
    """
    name = session.names.model(model).model_package_group_name_parameter
    return session.parameter(name, f"model registry for {model}")


def versions(session: Session, group: str) -> list[Version]:
    """All versions, newest first."""
    pages = session.sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    found = [
        Version(
            number=summary["ModelPackageVersion"],
            arn=summary["ModelPackageArn"],
            approval=summary.get("ModelApprovalStatus", "none"),
            status=summary["ModelPackageStatus"],
            created=summary["CreationTime"],
        )
        for page in pages
        for summary in page["ModelPackageSummaryList"]
    ]
    return sorted(found, key=lambda version: version.number, reverse=True)


def find(session: Session, group: str, number: int) -> Version:
    """One version.

    Raises:
        CliError: it is not there; says which ones are.
    """
    known = versions(session, group)
    for version in known:
        if version.number == number:
            return version
    raise CliError(
        f"{group} has no version {number} (there are: {_listed(known)}).",
        hint="Register one with `sagestack run`." if not known else None,
        code="not-found",
    )


def newest(session: Session, group: str, approval: str) -> Version:
    """The newest version with that approval status.

    Raises:
        CliError: there is none.
    """
    known = versions(session, group)
    for version in known:
        if version.approval == approval:
            return version
    hint = "Register one with `sagestack run`."
    if known:
        hint = "Name one: sagestack approve VERSION" if approval == PENDING else "Approve one first: sagestack approve"
    raise CliError(
        f"{group} has no version that is {approval} (there are: {_listed(known)}).", hint=hint, code="not-found"
    )


def metrics(session: Session, version: Version) -> dict[str, float]:
    """What the version scored before it was registered, by dotted paths; empty where it says nothing."""
    answer = session.sagemaker.describe_model_package(ModelPackageName=version.arn)
    uri = answer.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {}).get("S3Uri")
    return step_outputs.numbers(step_outputs.read_json(session, uri)) if uri else {}


def decide(session: Session, version: Version, approval: Literal["Approved", "Rejected"], reason: str | None) -> bool:
    """Approves or rejects a version; returns whether that changed anything.

    Raises:
        CliError: the version's registration has not completed.
    """
    if version.approval == approval:
        return False
    if version.status != "Completed":
        raise CliError(f"Version {version.number} cannot be decided on: its status is {version.status}.")
    session.sagemaker.update_model_package(
        ModelPackageArn=version.arn,
        ModelApprovalStatus=approval,
        ApprovalDescription=reason or f"{approval} with sagestack",
    )
    return True


def number_of(arn: str) -> int | None:
    """The version in a model package's ARN, which ends in `<group>/<version>`."""
    last = arn.rsplit("/", 1)[-1]
    return int(last) if last.isdecimal() else None


def _listed(known: list[Version]) -> str:
    if not known:
        return "none"
    shown = ", ".join(f"{version.number} {version.approval}" for version in known[:8])
    return shown + (", ..." if len(known) > 8 else "")
