"""Resources that are only written down until an endpoint needs them: models and endpoint configurations."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, tags
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, page
from local_cloud.sagemaker.store import Document, Duplicate


@dataclass(frozen=True)
class ResourceKind:
    """What differs between kinds of resources in the API.

    Attributes:
        kind: as ARNs write it; also the kind of their documents in the store.
        noun: for messages.
        prefix: begins the members of the API: `Model` gives ModelName, ModelArn, and `Models` in the answer of a List call.
        event: the detail-type of the EventBridge event that is sent when one is created and when it is deleted.
        hidden: members of the documents that only the local cloud knows.
    """

    kind: str
    noun: str
    prefix: str
    event: str
    hidden: frozenset[str] = frozenset()

    def arn(self, caller: Caller, name: str) -> str:
        """The ARN of the resource of that name."""
        return arn_of(caller, self.kind, name)

    def refuse_taken(self, service: Sagemaker, caller: Caller, name: str) -> None:
        """Refuse a name that another resource has.

        Raises:
            ValidationError: it is taken.
        """
        if service.store.get(self.kind, caller.account, caller.region, key_of(name)) is not None:
            raise self._taken(caller, name)

    def create(self, service: Sagemaker, caller: Caller, request: Request, members: Mapping[str, Any]) -> Response:
        """Write a resource down with these members, its ARN and its time, and with the tags of the request.

        Raises:
            ValidationError: the name is taken.
        """
        name = request[f"{self.prefix}Name"]
        resource_arn = self.arn(caller, name)
        document = {**members, f"{self.prefix}Arn": resource_arn, "CreationTime": time.time()}
        try:
            with service.store.undisturbed():
                with service.store.transaction():
                    service.store.insert(self.kind, caller.account, caller.region, key_of(name), document)
                    tags.save(service, caller, resource_arn, request.get("Tags"))
                self._send_event(service, caller, document, tags.current(service, caller, resource_arn))
        except Duplicate:
            raise self._taken(caller, name) from None
        return {f"{self.prefix}Arn": resource_arn}

    def find(self, service: Sagemaker, caller: Caller, name: str) -> Document:
        """The document of the resource of that name.

        Raises:
            ValidationError: there is none.
        """
        document = service.store.get(self.kind, caller.account, caller.region, key_of(name))
        if document is None:
            raise ValidationError(f'Could not find {self.noun} "{self.arn(caller, name)}".')
        return document

    def described(self, document: Document) -> Document:
        """What a Describe call tells of a document."""
        return {member: value for member, value in document.items() if member not in self.hidden}

    def list(self, service: Sagemaker, caller: Caller, request: Request) -> Response:
        """A page of the resources that a List request asks for."""
        documents = service.store.list(self.kind, caller.account, caller.region)
        kept = matching(documents, request, name_key=f"{self.prefix}Name")
        members = (f"{self.prefix}Name", f"{self.prefix}Arn", "CreationTime")
        summaries = [{member: document[member] for member in members} for document in kept]
        return page(summaries, request, f"{self.prefix}s")

    def delete(self, service: Sagemaker, caller: Caller, name: str) -> Response:
        """Forget a resource and its tags; who uses it has what it needs of it.

        Raises:
            ValidationError: there is none.
        """
        with service.store.undisturbed():
            with service.store.transaction():
                document = self.find(service, caller, name)
                service.store.delete(self.kind, caller.account, caller.region, key_of(name))
                resource_arn = document[f"{self.prefix}Arn"]
                last_tags = tags.current(service, caller, resource_arn)
                tags.forget(service, caller, resource_arn)
            self._send_event(service, caller, document, last_tags)
        return {}

    def _taken(self, caller: Caller, name: str) -> ValidationError:
        return ValidationError(f'Cannot create already existing {self.noun} "{self.arn(caller, name)}".')

    def _send_event(self, service: Sagemaker, caller: Caller, document: Document, its_tags: dict[str, str]) -> None:
        detail = {**self.described(document), "CreationTime": document["CreationTime"] * 1000, "Tags": its_tags}
        events.send(service, caller.account, caller.region, self.event, detail, [document[f"{self.prefix}Arn"]])
