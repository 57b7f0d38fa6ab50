"""Looks at all stacks of an environment: as they are in the account, as they were deployed, and as git says."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagestack.cli.drift.cloudformation import DETECTABLE, Detection, DetectionFailed, detect, resources_of
from sagestack.cli.drift.live import look
from sagestack.cli.drift.results import Drifted, StackReport, Undeployed
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session
    from sagestack.review.assembly import StackTemplate


def look_for_drift(session: Session, say: Callable[[str], None]) -> list[StackReport]:
    """Compares account, deployment and git, stack by stack.

    Args:
        session: the environment.
        say: takes what goes on just now.

    Raises:
        CliError: the project does not synthesize.
    """
    deployed = _deployed(session)
    say(f"Synthesizing {session.environment.name}")
    wanted = _synthesized(session, parts_of(session, deployed))
    reports = []
    for name in dict.fromkeys([*wanted, *deployed]):
        say(f"Looking at {name}")
        reports.append(_report(session, name, deployed.get(name), wanted.get(name)))
    return reports


def parts_of(session: Session, deployed: Container[str]) -> tuple[str | None, ...]:
    """What of the app this environment has: the platform (None), and the bootstrap where somebody deploys it or roles need it."""
    has_bootstrap = session.environment.permissions_boundary or session.names.bootstrap_stack in deployed
    return (None, "bootstrap") if has_bootstrap else (None,)


def _report(session: Session, name: str, status: str | None, wanted: StackTemplate | None) -> StackReport:
    if status is None:
        return StackReport(name, None)
    template = _template(session, name)
    undeployed = _undeployed(session, name, template, wanted)
    if status not in DETECTABLE:
        problem = f"it is {status}; drift can be detected in {', '.join(DETECTABLE)}"
        return StackReport(name, status, undeployed=undeployed, problem=problem, is_unknown_to_git=wanted is None)
    paths = wanted.paths if wanted else {}
    resources = resources_of(session, name)
    try:
        detection = detect(session, name, resources, paths)
    except DetectionFailed as error:
        return StackReport(name, status, undeployed=undeployed, problem=str(error), is_unknown_to_git=wanted is None)
    drifted, unchecked = _looked_at(session, name, resources, template, detection, paths)
    return StackReport(
        name,
        status,
        drifted=(*detection.drifted, *drifted),
        undeployed=undeployed,
        unchecked=dict(sorted(unchecked.items())),
        checked=len(resources) - sum(unchecked.values()),
        is_unknown_to_git=wanted is None,
    )


def _looked_at(
    session: Session,
    stack: str,
    resources: Mapping[str, Mapping[str, Any]],
    template: Mapping[str, Any],
    detection: Detection,
    paths: Mapping[str, str],
) -> tuple[list[Drifted], Counter[str]]:
    drifted: list[Drifted] = []
    unchecked: Counter[str] = Counter()
    for logical_id, resource in resources.items():
        if logical_id in detection.checked:
            continue
        could, found = look(session, stack, logical_id, resources, template, paths.get(logical_id, logical_id))
        if not could:
            unchecked[resource["ResourceType"]] += 1
        if found:
            drifted.append(found)
    return drifted, unchecked


def _deployed(session: Session) -> dict[str, str]:
    """The environment's stacks in the account: name to status."""
    prefix = session.names.stack_prefix
    pages = session.cloudformation.get_paginator("describe_stacks").paginate()
    return {
        stack["StackName"]: stack["StackStatus"]
        for page in pages
        for stack in page["Stacks"]
        if stack["StackName"].startswith(prefix) and stack["StackStatus"] != "DELETE_COMPLETE"
    }


def _template(session: Session, stack: str) -> dict[str, Any]:
    body: Any = session.cloudformation.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    # botocore gives JSON templates as they are parsed, others as text.
    if not isinstance(body, str):
        return dict(body)
    from ruamel.yaml import YAML

    # The CDK CLI sends what has its legacy synthesizer (our bootstrap stack) as YAML, of which JSON is a part.
    return dict(YAML(typ="safe").load(body))


def _undeployed(
    session: Session, name: str, template: Mapping[str, Any], wanted: StackTemplate | None
) -> tuple[Undeployed, ...]:
    from sagestack.review.assembly import Assembly, StackTemplate
    from sagestack.review.changes import resource_changes

    if wanted is None:
        return ()
    environment = session.environment
    there = StackTemplate(environment.name, name, environment.account, environment.region, template, paths=wanted.paths)
    changes = resource_changes(Assembly(environment.name, {name: there}), Assembly(environment.name, {name: wanted}))
    return tuple(
        Undeployed(name, change.resource.path, change.resource.type, change.action.value) for change in changes
    )


def _synthesized(session: Session, parts: Sequence[str | None]) -> dict[str, StackTemplate]:
    """The stacks of these parts of the app, by name, each part synthesized in a process of its own."""
    from concurrent.futures import ThreadPoolExecutor

    from sagestack.review.assembly import read_assembly
    from sagestack.review.sides.synth import SynthError, Synthesizer

    folder = Path(tempfile.mkdtemp(prefix="sagestack-drift-"))
    synthesizer, environment = Synthesizer(session.root), session.environment.name

    def synthesize(part: str | None) -> Mapping[str, StackTemplate]:
        output = folder / (part or "platform")
        synthesizer.synthesize(session.root, {"env": environment} | ({"part": part} if part else {}), output)
        return read_assembly(output, environment).stacks

    try:
        with ThreadPoolExecutor() as pool:
            return {name: stack for stacks in pool.map(synthesize, parts) for name, stack in stacks.items()}
    except SynthError as error:
        raise CliError(
            f"The project does not synthesize for {environment}:\n{error}",
            hint=f"make synth ENV={environment} says more.",
            code="settings",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
