"""What people made in a domain: apps, spaces, profiles. SageMaker deletes none of them that has one below it.

https://docs.aws.amazon.com/sagemaker/latest/dg/gs-studio-delete-domain.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from .problems import in_words, is_gone

_Item = Mapping[str, Any]


class Contents:
    """One look at a domain, or at a part of it, in which everything is deleted that can be.

    Call `remove` until nothing is left: each call is short, and begins from what is there.
    """

    def __init__(
        self,
        sagemaker: Any,
        domain_id: str,
        *,
        profile: str | None = None,
        space: str | None = None,
        spare_shared: bool = False,
    ) -> None:
        """Takes what to look at.

        Args:
            sagemaker: the client.
            domain_id: the domain.
            profile: only what belongs to this profile: its apps and spaces. The profile itself stays.
            space: only the app of this space. The space itself stays.
            spare_shared: leave shared spaces, in which others may work, alone.
        """
        self._sagemaker, self._domain_id, self._profile, self._space = sagemaker, domain_id, profile, space
        self._spare_shared = spare_shared

    def shared_spaces(self) -> list[str]:
        """The names of the shared spaces of what is looked at."""
        try:
            return [space["SpaceName"] for space in self._list("spaces", "Spaces") if self._is_ours(space, shared=True)]
        except ClientError as error:
            if is_gone(error):
                return []
            raise

    def remove(self) -> list[str]:
        """Deletes what can be deleted now.

        Returns:
            What is still there, in words, each with what SageMaker last said of it; empty when it is done.

        Raises:
            ClientError: SageMaker refused to look.
        """
        try:
            spaces = [] if self._space else [each for each in self._list("spaces", "Spaces") if self._is_ours(each)]
            left = self._remove_apps({space["SpaceName"] for space in spaces})
            left = left or self._remove_spaces(spaces)
            if not left and not self._profile and not self._space:
                left = self._remove_profiles()
        except ClientError as error:
            if is_gone(error):
                return []  # the domain, and with it everything that was in it
            raise
        return left

    def _is_ours(self, space: _Item, *, shared: bool = False) -> bool:
        owner = space.get("OwnershipSettingsSummary", {}).get("OwnerUserProfileName")
        is_shared = space.get("SpaceSharingSettingsSummary", {}).get("SharingType") != "Private"
        is_asked = is_shared if shared else not (is_shared and self._spare_shared)
        return is_asked and (self._profile is None or owner == self._profile)

    def _remove_apps(self, spaces: set[str]) -> list[str]:
        left = []
        for app in self._list("apps", "Apps"):
            owner, space = app.get("UserProfileName"), app.get("SpaceName")
            if self._space and space != self._space:
                continue
            if self._profile and owner != self._profile and space not in spaces:
                continue
            status = app["Status"]
            if status == "Deleted":
                continue
            place = f"space {space}" if space else f"profile {owner}"
            what = f"app {app['AppType']}/{app['AppName']} of {place} ({status})"
            request = {
                "DomainId": self._domain_id,
                "AppType": app["AppType"],
                "AppName": app["AppName"],
                **({"SpaceName": space} if space else {"UserProfileName": owner}),
            }
            said = None if status == "Deleting" else self._try(self._sagemaker.delete_app, request)
            # A failed app is in nobody's way: SageMaker refuses to delete some of them, and deletes around them.
            if status != "Failed":
                left.append(_line(what, said))
        return left

    def _remove_spaces(self, spaces: list[_Item]) -> list[str]:
        left = []
        for space in spaces:
            request = {"DomainId": self._domain_id, "SpaceName": space["SpaceName"]}
            said = None if space["Status"] == "Deleting" else self._try(self._sagemaker.delete_space, request)
            left.append(_line(f"space {space['SpaceName']} ({space['Status']})", said))
        return left

    def _remove_profiles(self) -> list[str]:
        left = []
        for profile in self._list("user_profiles", "UserProfiles"):
            name, status = profile["UserProfileName"], profile["Status"]
            request = {"DomainId": self._domain_id, "UserProfileName": name}
            said = None if status == "Deleting" else self._try(self._sagemaker.delete_user_profile, request)
            left.append(_line(f"profile {name} ({status})", said))
        return left

    @staticmethod
    def _try(delete: Callable[..., object], request: Mapping[str, Any]) -> str | None:
        """Ask for it; what is being made or changed refuses, and is asked again at the next look."""
        try:
            delete(**request)
        except ClientError as error:
            return None if is_gone(error) else in_words(error)
        return None

    def _list(self, kind: str, key: str) -> Iterator[_Item]:
        for page in self._sagemaker.get_paginator(f"list_{kind}").paginate(DomainIdEquals=self._domain_id):
            yield from page[key]


def _line(what: str, said: str | None) -> str:
    return f"{what}: {said}" if said else what
