"""Which request is whose, and what of GitHub is not built here."""

from __future__ import annotations

import re
from collections.abc import Callable

from local_cloud.git_host.answers import Answer, Request
from local_cloud.git_host.comments_api import CommentsApi
from local_cloud.git_host.contents_api import ContentsApi
from local_cloud.git_host.pulls_api import PullsApi

# What GitHub has below a repository and this host has not: refused by name, so that nobody takes it for a mistake of theirs.
NOT_BUILT = re.compile(
    r"(actions|activity|assignees|attestations|autolinks|automated-security-fixes|check-runs|check-suites|code-scanning"
    r"|codeowners|collaborators|comments|commits|compare|contributors|dependabot|dependency-graph|deployments|dispatches"
    r"|environments|events|forks|git|hooks|import|installation|interaction-limits|invitations|issues|keys|labels|languages"
    r"|license|merge-upstream|merges|milestones|notifications|pages|private-vulnerability-reporting|properties|pulls|readme"
    r"|releases|rules|rulesets|secret-scanning|security-advisories|stargazers|stats|statuses|subscribers|subscription|tags"
    r"|tarball|teams|topics|traffic|transfer|vulnerability-alerts|zipball|branches|contents)(/.*)?"
)
NOT_BUILT_ABOVE = re.compile(r"/(user|users|orgs|search|app|apps|graphql|gists|notifications|rate_limit|meta)(/.*)?")

Route = tuple[str, re.Pattern[str], Callable[[Request], Answer]]


def routes(contents: ContentsApi, pulls: PullsApi, comments: CommentsApi) -> list[Route]:
    """What is built, below `/repos/OWNER/NAME`."""
    pull, comment = "/pulls/(?P<number>[0-9]{1,9})", "/issues/comments/(?P<id>[0-9]{1,9})"
    said, reference = "/issues/(?P<number>[0-9]{1,9})/comments", "/git/refs/heads/(?P<branch>.+)"
    table: list[tuple[str, str, Callable[[Request], Answer]]] = [
        ("GET", "", contents.get_repository),
        ("GET", "/contents/?(?P<path>.*)", contents.read),
        ("PUT", "/contents/(?P<path>.+)", contents.write),
        ("GET", "/git/ref/heads/(?P<branch>.+)", contents.get_reference),
        ("POST", "/git/refs", contents.create_reference),
        ("PATCH", reference, contents.update_reference),
        ("DELETE", reference, contents.delete_reference),
        ("GET", "/branches", contents.list_branches),
        ("GET", "/branches/(?P<branch>.+)", contents.get_branch),
        ("GET", "/commits/(?P<reference>[^/]+)", contents.get_commit),
        ("GET", "/pulls", pulls.list_pulls),
        ("POST", "/pulls", pulls.create_pull),
        ("GET", pull, pulls.get_pull),
        ("PATCH", pull, pulls.update_pull),
        ("GET", f"{pull}/files", pulls.list_files),
        ("GET", f"{pull}/merge", pulls.is_merged),
        ("PUT", f"{pull}/merge", pulls.merge),
        ("GET", said, comments.list_comments),
        ("POST", said, comments.create_comment),
        ("GET", comment, comments.get_comment),
        ("PATCH", comment, comments.update_comment),
        ("DELETE", comment, comments.delete_comment),
    ]
    return [(method, re.compile(pattern), act) for method, pattern, act in table]
