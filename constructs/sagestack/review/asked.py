"""Which conditions a review asks about where the command names none: those of delivery.yaml, on both sides of the change."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sagestack.cli.errors import CliError
from sagestack.review.sides.opening import OpenSide
from sagestack.settings import source
from sagestack.settings.delivery import DEFAULT_FAIL_ON, FILE
from sagestack.settings.review_conditions import Condition, ConditionError, parse_conditions


def conditions_of(root: Path, before: OpenSide, after: OpenSide) -> tuple[tuple[Condition, ...], tuple[str, ...]]:
    """The conditions of both sides, the change's own first, and what a reviewer should know of the difference.

    What a change drops still counts in the review of that change: otherwise a pull request could switch off the question
    that it would be stopped by. Once it is merged, it is the base, and asks no more.

    Args:
        root: the reviewing project, whose delivery.yaml counts for a head that is a folder of `cdk synth`.
        before: the base; one from before this project, or a folder of `cdk synth`, asks about nothing.
        after: the head.

    Returns:
        The conditions, and notes.

    Raises:
        CliError: the head's cannot be understood.
    """
    new = _written(after.files.folder if after.files else root)
    if new is None:
        raise CliError(
            f"What {FILE} of {after.side.label} asks about below review.fail_on cannot be read.",
            hint="--fail-on says it instead.",
            code="settings",
        )
    if before.files is None or before.files.missing:
        return new, ()
    old = _written(before.files.folder)
    if old is None:
        return new, (
            f"What {FILE} of the base asks about below review.fail_on cannot be read, so only the change's counts.",
        )
    dropped = [condition for condition in old if condition not in new]
    if not dropped:
        return new, ()
    return (*new, *dropped), (
        f"The change takes {_listed(dropped)} out of `review.fail_on` in {FILE}. This review still asks about all of it;"
        f" later ones will ask about {_listed(new)}.",
    )


def _written(folder: Path) -> tuple[Condition, ...] | None:
    """What a side asks about, the default where it says nothing; None for what cannot be understood.

    Only this is read of the file: the rest may be of another time, and says nothing about conditions.
    """
    if not (folder / FILE).exists():
        return parse_conditions(DEFAULT_FAIL_ON)
    try:
        return parse_conditions(source.read(folder / FILE, root=folder).content["review"]["fail_on"])
    except KeyError:
        return parse_conditions(DEFAULT_FAIL_ON)
    except (source.UnreadableError, OSError, ConditionError, TypeError, AttributeError):
        return None


def _listed(conditions: Iterable[Condition]) -> str:
    return ", ".join(f"`{condition}`" for condition in conditions) or "nothing"
