"""What the review itself calls wrong, as rules of SARIF: each with a page of AWS that explains it."""

from __future__ import annotations

from dataclasses import dataclass

from sagestack.review.results import PermissionFlag, Severity

_DOCS = "https://docs.aws.amazon.com/"


@dataclass(frozen=True)
class Rule:
    """A rule of SARIF: what is wrong in general, and where it is explained."""

    id: str
    title: str
    explanation: str
    link: str | None = None
    severity: Severity = Severity.WARNING
    is_security: bool = False


_USER_GUIDE = f"{_DOCS}AWSCloudFormation/latest/UserGuide"
_IAM_GUIDE = f"{_DOCS}IAM/latest/UserGuide"
CHANGE_RULES = {
    "cannot-deploy": Rule(
        "sagestack/cannot-deploy", "A deployment would fail",
        "CloudFormation or the service refuses the change: the deployment fails and is rolled back.",
        f"{_USER_GUIDE}/troubleshooting.html", Severity.DANGER,
    ),
    "data-loss": Rule(
        "sagestack/data-loss", "A deployment loses data",
        "A resource that holds data is deleted or replaced, and no retention policy keeps the old one.",
        f"{_DOCS}AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html", Severity.DANGER,
    ),
    "refused": Rule(
        "sagestack/refused-deletion", "CloudFormation cannot delete a resource that holds data",
        "AWS does not delete it while anything is in it: CloudFormation tries, goes on, and leaves it behind.",
        f"{_USER_GUIDE}/troubleshooting.html", Severity.DANGER,
    ),
    "interruption": Rule(
        "sagestack/interruption", "Callers notice the deployment",
        "While the resource changes, those who use it get errors or no answer.",
        f"{_USER_GUIDE}/using-cfn-updating-stacks-update-behaviors.html", Severity.DANGER,
    ),
    "replacement": Rule(
        "sagestack/replacement", "A resource is replaced",
        "CloudFormation makes a new resource and deletes the old one.",
        f"{_USER_GUIDE}/using-cfn-updating-stacks-update-behaviors.html",
    ),
    "deletion": Rule(
        "sagestack/deletion", "A resource is deleted", "A resource leaves the template.",
        f"{_DOCS}AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html",
    ),
    "change": Rule(
        "sagestack/change", "A resource changes in a way that somebody should have meant",
        "A resource is changed in place, and what it did before it does no more.",
        f"{_USER_GUIDE}/using-cfn-updating-stacks-update-behaviors.html",
    ),
}  # fmt: skip
PERMISSION_RULES = {
    PermissionFlag.PUBLIC: Rule(
        "sagestack/public-access", "Something becomes public", "A policy lets everybody in.",
        f"{_IAM_GUIDE}/access-analyzer-concepts.html", Severity.DANGER, True,
    ),
    PermissionFlag.LOST_BOUNDARY: Rule(
        "sagestack/lost-boundary", "A role loses its permissions boundary",
        "The boundary was the most that the role could be allowed to do.",
        f"{_IAM_GUIDE}/access_policies_boundaries.html", Severity.DANGER, True,
    ),
    PermissionFlag.LOST_DENIAL: Rule(
        "sagestack/lost-denial", "A denial is gone", "What was denied, whoever else allowed it, is not denied any more.",
        f"{_IAM_GUIDE}/reference_policies_evaluation-logic.html", Severity.DANGER, True,
    ),
    PermissionFlag.CROSS_ACCOUNT: Rule(
        "sagestack/cross-account-access", "Another account is let in",
        "A policy names a principal of an account that is not the environment's.",
        f"{_IAM_GUIDE}/reference_policies_evaluation-logic-cross-account.html", Severity.DANGER, True,
    ),
    PermissionFlag.PERMISSIONS_MANAGEMENT: Rule(
        "sagestack/permissions-management", "A principal may change permissions",
        "Who may change policies or roles may give itself everything else.",
        f"{_IAM_GUIDE}/access_policies_understand-policy-summary-access-level-summaries.html", Severity.DANGER, True,
    ),
    PermissionFlag.NEW_WILDCARD: Rule(
        "sagestack/new-wildcard", "A policy has a new wildcard",
        "Actions, resources or principals are named by a pattern that takes in more than somebody listed.",
        f"{_IAM_GUIDE}/best-practices.html#grant-least-privilege", Severity.DANGER, True,
    ),
}  # fmt: skip
"""The gravest first: a permission with several flags is a result of the first one."""
WIDER = Rule(
    "sagestack/wider-permission", "A permission widens", "Something is allowed that was not.",
    f"{_IAM_GUIDE}/best-practices.html#grant-least-privilege", Severity.WARNING, True,
)  # fmt: skip
