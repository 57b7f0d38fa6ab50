"""What happens in the repository, as GitHub tells a workflow of it: a pull request with its merge commit, a push, a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.git_repositories import git


@dataclass(frozen=True)
class Event:
    """https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows

    Attributes:
        name: pull_request, push, schedule, workflow_dispatch.
        ref: GITHUB_REF.
        sha: GITHUB_SHA.
        payload: github.event.
        base_ref: the branch that a pull request goes to; else empty.
        head_ref: the branch that it comes from; else empty.
        inputs: of a workflow_dispatch.
    """

    name: str
    ref: str
    sha: str
    payload: dict[str, Any]
    base_ref: str = ""
    head_ref: str = ""
    inputs: dict[str, str] | None = None

    @property
    def ref_name(self) -> str:
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/")


def pull_request(repository: Path, name: str, pull: dict[str, Any], action: str = "synchronize") -> Event:
    """A pull request of a branch of the same repository, with the merge that GitHub keeps at refs/pull/N/merge.

    Args:
        repository: the bare one.
        name: owner/name.
        pull: as the git host's API has it.
        action: opened, synchronize, reopened.
    """
    number, base, head = pull["number"], pull["base"]["ref"], pull["head"]["ref"]
    base_sha, head_sha = (git(repository, "rev-parse", branch) for branch in (base, head))
    tree = git(repository, "merge-tree", "--write-tree", base_sha, head_sha).splitlines()[0]
    merge = git(
        repository, "commit-tree", tree, "-p", base_sha, "-p", head_sha, "-m", f"Merge {head_sha} into {base_sha}"
    )
    git(repository, "update-ref", f"refs/pull/{number}/merge", merge)
    git(repository, "update-ref", f"refs/pull/{number}/head", head_sha)
    side = {"repo": {"full_name": name}}
    payload = {
        "action": action,
        "number": number,
        "pull_request": {
            "number": number,
            "head": {"ref": head, "sha": head_sha, **side},
            "base": {"ref": base, "sha": base_sha, **side},
        },
    }
    return Event("pull_request", f"refs/pull/{number}/merge", merge, payload, base, head)


def push(repository: Path, before: str, branch: str = "main") -> Event:
    """What a merge, or somebody's push, is: the branch's tip, and where it was before."""
    after = git(repository, "rev-parse", branch)
    return Event(
        "push", f"refs/heads/{branch}", after, {"before": before, "after": after, "ref": f"refs/heads/{branch}"}
    )


def schedule(repository: Path, cron: str, branch: str = "main") -> Event:
    """A schedule runs on the default branch's tip."""
    return Event("schedule", f"refs/heads/{branch}", git(repository, "rev-parse", branch), {"schedule": cron})


def dispatch(repository: Path, inputs: dict[str, str], branch: str = "main") -> Event:
    """Somebody pressed *Run workflow* on a branch."""
    tip = git(repository, "rev-parse", branch)
    return Event("workflow_dispatch", f"refs/heads/{branch}", tip, {"inputs": inputs}, inputs=inputs)


def is_asked_for(on: Any, event: Event) -> bool:
    """Whether a workflow's `on` names the event.

    Raises:
        AssertionError: by a filter that is not known here.
    """
    if not isinstance(on, dict) or event.name not in on:
        return False
    filters = on[event.name]
    if event.name in ("pull_request", "push"):
        unknown = set(filters or {}) - {"branches"}
        assert not unknown, f"on.{event.name}: the filters {sorted(unknown)} are not known here"
        branch = event.base_ref or event.ref_name
        return not filters or branch in filters["branches"]
    if event.name == "schedule":
        return {"cron": event.payload["schedule"]} in filters
    return True
