"""What a principal may besides its own policies: by those of resources that name it, and by policies that are not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sagestack.review.assembly import StackTemplate
from sagestack.review.permissions.attachments import OF_FUNCTIONS, name_by_aws, unread_policies
from sagestack.review.permissions.lost_denials import Lost, Remains, remains
from sagestack.review.permissions.references import Names, Reader
from sagestack.review.permissions.scopes import VPC_ENDPOINT, Key, Scope
from sagestack.review.permissions.statements import ANYONE, EVERYTHING, SELF, Selection, Statement

_READABLE = ("AWS::IAM::Role", "AWS::IAM::User")


class OtherGrants:
    """Of one side.

    Args:
        found: all scopes of that side.
    """

    def __init__(self, reader: Reader, names: Names, found: Mapping[Key, Scope]) -> None:
        self._reader, self._names, self._found = reader, names, found

    def remains(self, scope: Scope, lost: Lost) -> Remains:
        """What the principal of a scope is left with."""
        return remains(
            lost,
            scope.statements,
            [*self._of_resources(scope), *self._of_aws(scope)],
            [self._names.readable(each) for each in self._unread(scope)],
        )

    def _of_resources(self, scope: Scope) -> Iterator[Statement]:
        arn = self._arn(scope)
        for other in self._found.values():
            # An endpoint lets through what is allowed elsewhere, and allows nothing by itself.
            if other.kind in ("resource", "key") and other.resource.type != VPC_ENDPOINT:
                yield from (each for each in other.statements if each.allows and _names(each.principals, arn))
            elif other.kind == "trust":
                # Within an account a trust policy that names the principal is enough; what it is about is its role.
                about = Selection((self._arn(other) or "*",))
                for each in other.statements:
                    if each.allows and _names(each.principals, arn):
                        yield replace(each, resources=about)

    def _arn(self, scope: Scope) -> str:
        stack = self._stack(scope)
        if scope.owner is None or stack is None:
            return ""
        return self._reader.text({"Fn::GetAtt": [scope.owner.logical_id, "Arn"]}, stack)

    def _stack(self, scope: Scope) -> StackTemplate | None:
        assembly = self._reader.assembly
        return assembly.stacks.get(scope.resource.stack) if assembly is not None else None

    def _of_aws(self, scope: Scope) -> Iterator[Statement]:
        for name in self._policies(scope):
            if actions := _known(name):
                yield Statement(True, Selection((SELF,)), Selection(actions), EVERYTHING)

    def _policies(self, scope: Scope) -> Iterable[str]:
        return unread_policies(scope.owner, self._reader) if scope.owner is not None else ()

    def _unread(self, scope: Scope) -> Iterator[str]:
        yield from scope.unreadable
        if scope.owner is None or scope.owner.type not in _READABLE:
            yield f"what else whoever has {scope.label} may"
            return
        for name in self._policies(scope):
            if not _known(name):
                yield (
                    name if name.startswith("group ") else f"the managed policy {name.partition(':policy/')[2] or name}"
                )


def _known(policy: str) -> tuple[str, ...]:
    return OF_FUNCTIONS.get(name_by_aws(policy), ())


def _names(principals: Selection, arn: str) -> bool:
    """Whether a statement lets in the principal itself, or perhaps a session of it.

    The account alone does not: it says that the principal's own policies decide.
    """
    if principals.is_negated:
        return True
    return any(
        each in (ANYONE, f"AWS:{arn}") or each.startswith("CanonicalUser:") or ":assumed-role/" in each
        for each in principals.patterns
    )
