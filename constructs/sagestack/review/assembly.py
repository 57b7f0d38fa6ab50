"""A synthesized environment as the review reads it: stacks, their resources, and where in the code each comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

SOURCES_FILE = "sagestack-sources.json"
"""Construct path to `file:line`, left in an assembly by the review's own synth."""


@dataclass(frozen=True)
class Resource:
    """One resource of a template.

    Attributes:
        path: of its construct, without the stack and without CDK's last `Resource`; the logical id where there is none.
        definition: what stands under the logical id, without the CDK's metadata.
        source: `file:line` of the code that makes it, relative to the project; None where nobody recorded it.
    """

    environment: str
    stack: str
    logical_id: str
    type: str
    path: str
    definition: Mapping[str, Any] = field(repr=False)
    source: str | None = None

    @property
    def properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self.definition.get("Properties", {})
        return properties

    @property
    def deletion_policy(self) -> str:
        """What happens to it when it leaves the template; CloudFormation's default is to delete it."""
        return str(self.definition.get("DeletionPolicy", "Delete"))

    @property
    def update_replace_policy(self) -> str:
        """What happens to the old one when it is replaced; CloudFormation's default is to delete it."""
        return str(self.definition.get("UpdateReplacePolicy", "Delete"))

    @property
    def address(self) -> str:
        """Names it among everything that is reviewed."""
        return f"{self.stack}/{self.logical_id}"


@dataclass(frozen=True)
class StackTemplate:
    """One stack of an environment, as CloudFormation will get it."""

    environment: str
    name: str
    account: str
    region: str
    template: Mapping[str, Any] = field(repr=False)
    paths: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Logical id to construct path, as in `Resource.path`."""
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Construct path below the stack to `file:line`."""
    acknowledged: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Construct path below the stack, empty for the stack, to the rules that code accepts for it and below, with reasons."""
    has_termination_protection: bool = False
    file: Path | None = None

    @cached_property
    def resources(self) -> Mapping[str, Resource]:
        """By logical id."""
        return {
            logical_id: Resource(
                environment=self.environment,
                stack=self.name,
                logical_id=logical_id,
                type=definition["Type"],
                path=self.paths.get(logical_id, logical_id),
                definition={key: value for key, value in definition.items() if key != "Metadata"},
                source=self._source_of(self.paths.get(logical_id, logical_id)),
            )
            for logical_id, definition in self.template.get("Resources", {}).items()
            if definition["Type"] != "AWS::CDK::Metadata"
        }

    def _source_of(self, path: str) -> str | None:
        # What has no line of its own (CDK makes it) has that of the construct that it is in.
        parts = path.split("/")
        return next(
            (
                self.sources[above]
                for end in range(len(parts), 0, -1)
                if (above := "/".join(parts[:end])) in self.sources
            ),
            None,
        )


@dataclass(frozen=True)
class Assembly:
    """What one synth of one environment wrote."""

    environment: str
    stacks: Mapping[str, StackTemplate]
    directory: Path | None = None

    @property
    def resources(self) -> list[Resource]:
        return [resource for stack in self.stacks.values() for resource in stack.resources.values()]


def read_assembly(directory: Path, environment: str) -> Assembly:
    """Reads a folder that `cdk synth` wrote.

    Raises:
        FileNotFoundError: there is no manifest in it.
    """
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    sources = {}
    if (directory / SOURCES_FILE).exists():
        sources = json.loads((directory / SOURCES_FILE).read_text(encoding="utf-8"))
    stacks = {}
    for artifact_id, artifact in manifest["artifacts"].items():
        if artifact["type"] != "aws:cloudformation:stack":
            continue
        properties = artifact["properties"]
        file = directory / properties["templateFile"]
        name = properties.get("stackName", artifact_id)
        account, region = artifact["environment"].removeprefix("aws://").split("/")
        metadata = artifact.get("metadata", {})
        if "additionalMetadataFile" in artifact:
            metadata |= json.loads((directory / artifact["additionalMetadataFile"]).read_text(encoding="utf-8"))
        prefix = f"/{artifact.get('displayName', artifact_id)}/"
        stacks[name] = StackTemplate(
            environment=environment,
            name=name,
            account=account,
            region=region,
            template=json.loads(file.read_text(encoding="utf-8")),
            paths={
                entry["data"]: path.removeprefix(prefix).removesuffix("/Resource")
                for path, entries in metadata.items()
                for entry in entries
                if entry["type"] == "aws:cdk:logicalId"
            },
            sources={path.removeprefix(prefix): line for path, line in sources.items() if path.startswith(prefix)},
            acknowledged={
                f"{path}/".removeprefix(prefix).removesuffix("/").removesuffix("/Resource"): rules
                for path, entries in metadata.items()
                if (rules := _acknowledged(entries))
            },
            has_termination_protection=bool(properties.get("terminationProtection")),
            file=file,
        )
    return Assembly(environment, stacks, directory)


def _acknowledged(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What `Validations.of(construct).acknowledge` left: rules with the plugin before them, `AwsSolutions::AwsSolutions-S1`."""
    return {
        rule.partition("::")[2]: reason
        for entry in entries
        if entry["type"] == "aws:cdk:acknowledged-rules"
        for rule, reason in entry["data"].items()
    }
