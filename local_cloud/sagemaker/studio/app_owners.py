"""What user profiles and spaces have in common: a domain has them by name, apps are theirs, and their statuses are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.service import Request, Response, Sagemaker
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import domains, kinds
from local_cloud.sagemaker.studio.entities import Entity, Motion

Members = Callable[[Document], Mapping[str, Any]]
"""What a new one has besides its request; it is given the domain, and may refuse by an error."""


class AppOwner(Entity):
    """A kind of thing that a domain has by name, and that has apps."""

    @property
    def name_key(self) -> str:
        """The member with its name, in its own documents and in those of its apps."""
        return f"{self.noun}Name"

    def named(self, service: Sagemaker, caller: Caller, domain_id: str, name: str) -> Document:
        """One of a domain; the case of its name does not count.

        Raises:
            ResourceNotFound: there is none, or no such domain.
        """
        domains.DOMAIN.find(service, caller, domain_id)
        return self.find(service, caller, kinds.path_in_domain(domain_id, name))

    def create(self, service: Sagemaker, caller: Caller, request: Request, members: Members) -> Response:
        """Make one in a domain that is in service, with a home directory on its file system.

        Args:
            service: SageMaker.
            caller: who asks.
            request: of the Create call.
            members: asked where no deletion of the domain can come between.

        Raises:
            ApiError: the domain is not there or not in service, or there is one of that name.
        """
        domain_id = request["DomainId"]
        with service.store.transaction():
            domain = domains.in_service(service, caller, domain_id)
            document: Document = {
                **{member: value for member, value in request.items() if member != "Tags"},
                **members(domain),
                "Status": "Pending",
                "HomeEfsFileSystemUid": domains.next_uid(service, caller, domain_id),
            }
            path = kinds.path_in_domain(domain_id, request[self.name_key])
            created = self.insert(service, caller, path, document, request.get("Tags"))
        return {self.arn_key: created[self.arn_key]}

    def begin(
        self,
        service: Sagemaker,
        caller: Caller,
        request: Request,
        verb: str,
        status: str,
        change: Callable[[Document], None],
    ) -> Document:
        """Begin a status that ends by itself, unless another one has not ended.

        Args:
            service: SageMaker.
            caller: who asks.
            request: names it.
            verb: what is asked for, for messages.
            status: that begins.
            change: edits the document; may refuse by an error.

        Raises:
            ApiError: it is not there, in another status that has not ended, or `change` refused.
        """

        def edit(document: Document) -> None:
            self.refuse_in_motion(document, verb)
            change(document)

        path = kinds.path_in_domain(request["DomainId"], request[self.name_key])
        return self.change(service, caller, path, edit, status=status)

    def delete(
        self,
        service: Sagemaker,
        caller: Caller,
        request: Request,
        others: Callable[[Document], Mapping[str, Iterable[Document]]],
    ) -> None:
        """Delete one that has no living app.

        Args:
            service: SageMaker.
            caller: who asks.
            request: names it.
            others: what else stands in the way, by its noun.

        Raises:
            ApiError: it is not there, or something stands in the way.
        """

        def check(document: Document) -> None:
            apps = self.living_apps(service, caller, document)
            kinds.refuse_while(self, document, "delete", App=apps, **others(document))

        self.begin(service, caller, request, "delete", "Deleting", check)

    def living_apps(self, service: Sagemaker, caller: Caller, owner: Document) -> list[Document]:
        """Its apps that are there: not those that failed or are deleted."""
        return kinds.living(self._apps(service, caller, owner))

    def forget_apps(self, service: Sagemaker, caller: Caller, owner: Document) -> None:
        """Apps that failed or were deleted go with their owner."""
        for app in self._apps(service, caller, owner):
            service.store.delete(kinds.APP, caller.account, caller.region, kinds.app_path(app).lower())

    def _apps(self, service: Sagemaker, caller: Caller, owner: Document) -> list[Document]:
        name = owner[self.name_key].lower()
        apps = kinds.of_domain(service, caller, kinds.APP, owner["DomainId"])
        return [app for app in apps if app.get(self.name_key, "").lower() == name]


def app_owner(kind: str, noun: str, seconds: float) -> AppOwner:
    """A kind of owner, whose every status that goes on by itself lasts so many of the cloud's seconds."""

    def forget_apps(service: Sagemaker, caller: Caller, owner: Document) -> None:
        made.forget_apps(service, caller, owner)

    made = AppOwner(
        kind,
        noun,
        {
            "Pending": Motion("InService", "Failed", seconds),
            "Updating": Motion("InService", "Update_Failed", seconds),
            "Deleting": Motion(None, "Delete_Failed", seconds, forget_apps),
        },
    )
    return made
