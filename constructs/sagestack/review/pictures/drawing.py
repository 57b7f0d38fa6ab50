"""Makes the pictures of one environment."""

from __future__ import annotations

from collections.abc import Iterable

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.pictures.graphviz import draw
from sagestack.review.pictures.mermaid import pipeline_mermaid, stacks_mermaid
from sagestack.review.pictures.parts import parts_of
from sagestack.review.pictures.pipelines import definition_of, pipeline_dot
from sagestack.review.pictures.stacks import stacks_dot
from sagestack.review.results import Picture, ResourceChange


def pictures(before: Assembly | None, after: Assembly | None, changes: Iterable[ResourceChange]) -> tuple[Picture, ...]:
    """The stacks first, then each training pipeline that is there on either side; nothing where there is nothing."""
    parts, edges = parts_of(before, after, changes)
    if not parts:
        return ()
    pipelines = _pipelines(before, after)
    definitions = {path: (definition_of(old), definition_of(new)) for path, (old, new) in pipelines.items()}
    readable = {path: pair for path, pair in definitions.items() if pair != (None, None)}
    svgs = draw([stacks_dot(parts, edges), *(pipeline_dot(*pair) for pair in readable.values())])
    return (
        Picture("Stacks and resources", svgs[0], stacks_mermaid(parts, edges)),
        *(
            Picture(f"Pipeline {path}", svg, pipeline_mermaid(*pair))
            for svg, (path, pair) in zip(svgs[1:], readable.items(), strict=True)
        ),
    )


def _pipelines(before: Assembly | None, after: Assembly | None) -> dict[str, tuple[Resource | None, Resource | None]]:
    """The pipelines of both sides, those with the same construct path together."""
    sides = [
        {f"{r.stack}/{r.path}": r for r in (side.resources if side else ()) if r.type == "AWS::SageMaker::Pipeline"}
        for side in (before, after)
    ]
    return {path: (sides[0].get(path), sides[1].get(path)) for path in {**sides[0], **sides[1]}}
