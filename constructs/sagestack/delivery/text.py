"""Writes a workflow as YAML: the same text for the same workflow, so that a difference is a change."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import LiteralScalarString

from sagestack.delivery.parts import Job, Step, Workflow

RUNNER = "ubuntu-24.04"
"""A fixed one: what `latest` is changes under the project's feet."""
_HEAD = """\
# {why}
# Written by `sagestack delivery write` from delivery.yaml and environments/; a change by hand is refused by
# `sagestack delivery check`. docs/reference/delivery.md says what stands here, and why.
"""


def to_yaml(workflow: Workflow) -> str:
    """The text of the file."""
    document = CommentedMap(name=workflow.name, on=_plain(workflow.on))
    # Nothing for all, so that each job names what it needs.
    document["permissions"] = _flow({})
    if workflow.cancel_older:
        document["concurrency"] = CommentedMap({"group": workflow.cancel_older, "cancel-in-progress": True})
    # Named, bash also fails where a command in a pipe does.
    document["defaults"] = CommentedMap(run=CommentedMap({"shell": "bash"}))
    document["jobs"] = CommentedMap((job.id, _job(job)) for job in workflow.jobs)
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(document, text)
    return _HEAD.format(why=workflow.why) + text.getvalue()


def _job(job: Job) -> CommentedMap:
    document = CommentedMap(name=job.name)
    if job.needs:
        document["needs"] = _flow(list(job.needs))
    if job.condition:
        document["if"] = job.condition
    document["runs-on"] = RUNNER
    document["timeout-minutes"] = job.timeout_minutes
    if job.environment:
        document["environment"] = job.environment
    if job.one_at_a_time:
        document["concurrency"] = CommentedMap({"group": job.one_at_a_time, "cancel-in-progress": False})
    document["permissions"] = _plain(job.permissions) if job.permissions else _flow({})
    if job.outputs:
        document["outputs"] = _plain(job.outputs)
    document["steps"] = CommentedSeq(_step(step) for step in job.steps)
    return document


def _step(step: Step) -> CommentedMap:
    document = CommentedMap(name=step.name)
    if step.id:
        document["id"] = step.id
    if step.condition:
        document["if"] = step.condition
    if step.continue_on_error:
        document["continue-on-error"] = True
    if step.uses:
        document["uses"] = step.uses.pinned
        document.yaml_add_eol_comment(step.uses.version, "uses", column=0)
    if step.inputs:
        document["with"] = _plain(step.inputs)
    if step.env:
        document["env"] = _plain(step.env)
    if step.run is not None:
        document["run"] = LiteralScalarString(step.run) if "\n" in step.run else step.run
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return CommentedMap((key, _plain(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        items = [_plain(each) for each in value]
        return CommentedSeq(items) if any(isinstance(each, dict) for each in items) else _flow(items)
    return value


def _flow(value: dict[str, Any] | list[Any]) -> CommentedMap | CommentedSeq:
    result = CommentedMap(value) if isinstance(value, dict) else CommentedSeq(value)
    result.fa.set_flow_style()
    return result
