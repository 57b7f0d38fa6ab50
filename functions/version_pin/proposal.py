"""Proposes the pin of one version in git, once, however often it is asked for: by an approval, or by the stage before."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from .changes import Change, Review
from .git_hosts import GitHost
from .http_api import HostError
from .pin import pinned, with_pin

ATTEMPTS = 4
"""How often a commit is tried when somebody else commits at the same time."""
_IN_BETWEEN = (400, 409, 412, 422)
"""How the hosts say that the branch, or the file, is not any more what it was."""


@dataclass(frozen=True)
class Pin:
    """The version of a model that an environment is to serve."""

    environment: str
    model: str
    version: int

    @property
    def path(self) -> str:
        """Of the file that says so."""
        return f"environments/{self.environment}.yaml"

    @property
    def title(self) -> str:
        """Of the commit, and of its review."""
        return f"Serve version {self.version} of {self.model} in {self.environment}"

    @property
    def branch(self) -> str:
        """Where the commit waits for its review."""
        return f"{self._branches}{self.version}"

    @property
    def _branches(self) -> str:
        return f"sagestack/{self.environment}-{self.model}-"

    def version_of(self, branch: str) -> int | None:
        """The version that a branch proposes for this model and environment; None for a branch of anything else."""
        found = re.fullmatch(re.escape(self._branches) + "([1-9][0-9]*)", branch)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class Proposal:
    """What became of it.

    Attributes:
        outcome: `review` (a pull request is open), `commit` (on the base itself), `unchanged` (it is pinned already).
        before: what the file pins now; None for nothing.
        address: of the pull request or of the commit; empty where there is none.
        is_new: False where the pull request was open already.
        closed: older pull requests that this one takes the place of.
    """

    outcome: str
    before: int | None
    address: str = ""
    is_new: bool = False
    closed: tuple[Review, ...] = ()


def propose(
    host: GitHost, pin: Pin, *, base: str, is_reviewed: bool, reason: str, is_last_word: bool = False
) -> Proposal:
    """Commit the pin to the environment's file, on a branch of its own where somebody reviews it.

    Of the open proposals for the same model and environment, this one takes the place: those of older versions are closed
    with a comment, or all others where this is the last word on what is to be served. One that is open already is left alone,
    with whatever a reviewer did to it, unless it cannot be merged any more.

    Args:
        host: of the repository.
        pin: what is to be served, where.
        base: the branch that it is to end on.
        is_reviewed: whether a person looks at it first.
        reason: why, in Markdown, for the text of the commit and of the review.
        is_last_word: whether proposals of newer versions are out of date, too.

    Raises:
        HostError: the host refused.
        NoPin: the file has no pin for the model.
    """
    for attempt in range(ATTEMPTS):
        text, revision = host.read(pin.path, base)
        before = pinned(text, pin.model)
        if before == pin.version:
            closed = _superseded(host, pin, base, is_last_word, by=f"`{base}` pins it already") if is_reviewed else ()
            return Proposal("unchanged", before, closed=closed)
        change = Change(
            path=pin.path,
            content=with_pin(text, pin.model, pin.version),
            message=_message(pin, before, reason),
            base=base,
            branch=pin.branch if is_reviewed else base,
            revision=revision,
            description=_description(pin, before, reason),
        )
        try:
            if not is_reviewed:
                return Proposal("commit", before, host.commit(change), is_new=True)
            found = host.open_review(change.branch, base)
            is_new = found is None
            if found is None or found.has_conflicts:
                host.commit(change)
                found = host.review(change)
        except HostError as error:
            # Somebody else committed in between (each host has a status of its own for it): read again.
            if error.status not in _IN_BETWEEN or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.5 * 2**attempt)
            continue
        closed = _superseded(host, pin, base, is_last_word, by=f"see {found.address}")
        return Proposal("review", before, found.address, is_new, closed)
    raise AssertionError("the last attempt returns or raises")


def _superseded(host: GitHost, pin: Pin, base: str, is_last_word: bool, by: str) -> tuple[Review, ...]:
    """Close the open proposals of other versions that this one takes the place of."""
    closed = []
    for review in host.open_reviews(base):
        version = pin.version_of(review.branch)
        if version is None or version == pin.version or (version > pin.version and not is_last_word):
            continue
        host.close(
            review,
            f"{pin.environment} is to serve version {pin.version} of {pin.model} instead ({by}). Reopen this pull request if"
            f" version {version} is wanted after all.",
        )
        closed.append(review)
    return tuple(closed)


def _was(pin: Pin, before: int | None) -> str:
    return f"{pin.environment} serves {'none' if before is None else f'version {before}'} so far."


def _message(pin: Pin, before: int | None, reason: str) -> str:
    return f"{pin.title}\n\n{reason}\n\n{_was(pin, before)} `git revert` of this commit, and a deployment, go back to it.\n"


def _description(pin: Pin, before: int | None, reason: str) -> str:
    return (
        f"{reason}\n\n"
        f"{_was(pin, before)} The merge deploys nothing by itself: the deployment of {pin.environment} does, by the workflow that"
        f" `sagestack delivery` wrote or by `sagestack deploy --env {pin.environment}`.\n\n"
        f"**After it**: once {pin.environment} is deployed and its gate has passed, `sagestack promote --after"
        f" {pin.environment}` proposes the same version for the next stage of `delivery.yaml`; after the last stage it does"
        " nothing.\n\n"
        f"**To go back**: `git revert` the commit of the merge and deploy; {_back(pin, before)}\n"
    )


def _back(pin: Pin, before: int | None) -> str:
    if before is None:
        return f"{pin.environment} then serves no version, as now."
    return f"{pin.environment} then serves version {before} again."
