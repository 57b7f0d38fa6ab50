"""What an update in place takes away though nothing is deleted or replaced: data, ways back, protection, use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sagestack.review.changes.bucket_lifetimes import judge_bucket
from sagestack.review.changes.drafts import Context, Draft, plural
from sagestack.review.changes.property_values import PROTECTIONS, is_on, number, value_at
from sagestack.review.changes.templates import canonical
from sagestack.review.intrinsics import as_text
from sagestack.review.results import Action, Severity

_IMMUTABLE: Mapping[str, Mapping[str, object]] = {
    "AWS::KMS::Key": {
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "Origin": "AWS_KMS",
        "MultiRegion": False,
    }
}
"""What AWS refuses to change, so that nothing is replaced and the deployment fails; and what nothing stands for.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-kms-key.html
"""

_NEVER_SMALLER = {
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateNotebookInstance.html
    "AWS::SageMaker::NotebookInstance": ("VolumeSizeInGB", 5),
    # https://docs.aws.amazon.com/ebs/latest/userguide/ebs-modify-volume.html
    "AWS::SageMaker::Space": ("SpaceSettings.SpaceStorageSettings.EbsStorageSettings.EbsVolumeSizeInGb", 5),
    "AWS::EC2::Volume": ("Size", math.nan),
    # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.ModifyingExisting.html
    "AWS::RDS::DBInstance": ("AllocatedStorage", math.nan),
    "AWS::RDS::DBCluster": ("AllocatedStorage", math.nan),
}
"""Volumes: where their size stands, and what it is in GB where nothing stands; nan where that is not known."""


def judge_update(draft: Draft, context: Context) -> None:
    """Adds what an update means for what is kept, protected and used; says nothing of what is made anew."""
    if draft.before is None or draft.after is None or draft.renamed_from or draft.before.type != draft.after.type:
        return
    old, new = draft.before.properties, draft.after.properties
    _immutable(draft, old, new)
    _volume(draft, old, new)
    _protection(draft, old, new)
    judged = _BY_TYPE.get(draft.after.type)
    if judged is not None and draft.action is Action.UPDATED:
        judged(draft, context)


def _immutable(draft: Draft, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    changed = [
        name
        for name, default in _IMMUTABLE.get(draft.resource.type, {}).items()
        if len({str(canonical(each.get(name, default))).lower() for each in (old, new)}) > 1
    ]
    if changed:
        draft.fail(
            f"AWS refuses to change {', '.join(f'`{name}`' for name in changed)} of a key that is there."
            " Make another key beside it, move what it encrypts, then delete the old.",
        )


def _volume(draft: Draft, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    path, least = _NEVER_SMALLER.get(draft.resource.type, ("", 0))
    if not path or draft.action is not Action.UPDATED:
        return
    was, is_now = (number(value_at(each, path), least) for each in (old, new))
    if was is not None and is_now is not None and is_now < was:
        draft.fail(
            f"a volume can grow and not shrink, and this one has {was:g} GB, not {is_now:g}. Save what is"
            " on it and make another one under another name, or leave its size.",
        )


def _protection(draft: Draft, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name in PROTECTIONS:
        if is_on(old.get(name)) and not is_on(new.get(name)):
            draft.say(Severity.WARNING, f"`{name}` is off: the next deletion or replacement takes its data along.")


def _key(draft: Draft, context: Context) -> None:
    """https://docs.aws.amazon.com/kms/latest/developerguide/enabling-keys.html"""
    change = draft.changed("Enabled")
    if change is not None and str(canonical(change.after)).lower() == "false":
        draft.interrupt(
            Severity.DANGER,
            "Nothing that the key encrypted can be read or written until it is on again: buckets, volumes, new instances.",
        )
        draft.say(Severity.DANGER, "The key is switched off.")


def _log_group(draft: Draft, context: Context) -> None:
    _sooner(draft, "RetentionInDays", "day", "log events")


def _queue(draft: Draft, context: Context) -> None:
    _sooner(draft, "MessageRetentionPeriod", "second", "messages", missing=345_600)


def _stream(draft: Draft, context: Context) -> None:
    _sooner(draft, "RetentionPeriodHours", "hour", "records", missing=24)


def _sooner(draft: Draft, name: str, unit: str, what: str, *, missing: float | None = None) -> None:
    """Says that what is kept for a time is kept for less; `missing` is AWS's default, None for ever."""
    change = draft.changed(name)
    if change is None:
        return
    was, is_now = number(change.before, missing), number(change.after, missing)
    if is_now is None or math.isnan(is_now) or (was is not None and not is_now < was):
        return
    before = plural(was, unit) if was is not None else "for ever"
    draft.data = "lost"
    draft.say(
        Severity.WARNING,
        f"AWS deletes {what} that are older than {plural(is_now, unit)}, also those that are there; they were kept {before}.",
    )


def _table(draft: Draft, context: Context) -> None:
    assert draft.before is not None
    assert draft.after is not None
    old, new = draft.before.properties, draft.after.properties
    _way_back(draft, "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", "a point in time")
    attribute = value_at(new, "TimeToLiveSpecification.AttributeName")
    if is_on(value_at(new, "TimeToLiveSpecification.Enabled")) and not is_on(
        value_at(old, "TimeToLiveSpecification.Enabled")
    ):
        draft.say(
            Severity.WARNING, f"DynamoDB deletes the items whose time in `{as_text(attribute)}` is over, from now on."
        )


def _file_system(draft: Draft, context: Context) -> None:
    _way_back(draft, "BackupPolicy.Status", "a backup")


def _way_back(draft: Draft, path: str, what: str) -> None:
    assert draft.before is not None
    assert draft.after is not None
    if is_on(value_at(draft.before.properties, path)) and not is_on(value_at(draft.after.properties, path)):
        draft.say(Severity.WARNING, f"`{path}` is off: what is overwritten or deleted comes back from {what} no more.")


def _repository(draft: Draft, context: Context) -> None:
    if draft.changed("LifecyclePolicy") and draft.resource.properties.get("LifecyclePolicy"):
        draft.say(
            Severity.WARNING,
            "Its lifecycle policy is another one: images that it takes are deleted, also where an endpoint or a registered"
            " version names them.",
        )


_BY_TYPE: Mapping[str, Callable[[Draft, Context], None]] = {
    "AWS::DynamoDB::Table": _table,
    "AWS::ECR::Repository": _repository,
    "AWS::EFS::FileSystem": _file_system,
    "AWS::KMS::Key": _key,
    "AWS::Kinesis::Stream": _stream,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": judge_bucket,
    "AWS::SQS::Queue": _queue,
}
