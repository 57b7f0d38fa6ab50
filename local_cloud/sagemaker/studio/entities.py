"""What everything in Studio is made of: documents with a status that goes on by itself, also after the local cloud was killed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.platform import Caller, RoleRefused
from local_cloud.sagemaker import notifications, tags
from local_cloud.sagemaker.errors import ApiError, ResourceInUse, ResourceNotFound
from local_cloud.sagemaker.service import Sagemaker, arn
from local_cloud.sagemaker.store import Document, Duplicate
from local_cloud.sagemaker.studio.background import studio_of

logger = logging.getLogger(__name__)


class Failed(Exception):
    """What was begun cannot be finished; the message is the entity's FailureReason."""


Work = Callable[[Sagemaker, Caller, Document], Mapping[str, Any] | None]


def nothing(_service: Sagemaker, _caller: Caller, _document: Document) -> None:
    """The work of a status that only takes its time."""


@dataclass(frozen=True)
class Motion:
    """Where a status goes by itself.

    Attributes:
        to: the status that it ends in; None when the entity is gone then.
        failed: the status that it ends in when its work fails.
        seconds: how long it lasts, in the cloud's seconds. AWS documents none of these times. They are what people report of
            it, in order of magnitude: long enough that whoever does not wait for the end is caught here as on AWS.
        work: what is done at the end of that time; members that it returns are written into the document. It is done
            again when a killed local cloud starts, so doing it twice must be as good as doing it once.
    """

    to: str | None
    failed: str
    seconds: float
    work: Work = nothing


@dataclass(frozen=True)
class Entity:
    """One kind of thing in Studio.

    Attributes:
        kind: as ARNs write it; also the kind of its documents in the store.
        noun: as SageMaker's messages call it; also the beginning of its members in the API.
        status_key: the member with its status.
        motions: the statuses that go on by themselves.
        hidden: members of its documents that the API does not have.
        changed: told of every new status, with the tags; sends events.
    """

    kind: str
    noun: str
    motions: Mapping[str, Motion] = field(default_factory=dict)
    status_key: str = "Status"
    hidden: frozenset[str] = frozenset()
    changed: Callable[[Sagemaker, Caller, Document, dict[str, str]], None] | None = None

    @property
    def arn_key(self) -> str:
        """The member with its ARN."""
        return f"{self.noun}Arn"

    def arn(self, caller: Caller, path: str) -> str:
        """The ARN of what has this path: what follows its kind."""
        return arn(caller, f"{self.kind}/{path}")

    def all(self, service: Sagemaker, caller: Caller) -> list[Document]:
        """All of them, oldest first."""
        return service.store.list(self.kind, caller.account, caller.region)

    def look_up(self, service: Sagemaker, caller: Caller, path: str) -> Document | None:
        """The document, or None."""
        return service.store.get(self.kind, caller.account, caller.region, path.lower())

    def find(self, service: Sagemaker, caller: Caller, path: str) -> Document:
        """The document.

        Raises:
            ResourceNotFound: there is none.
        """
        document = self.look_up(service, caller, path)
        if document is None:
            raise ResourceNotFound(f"{self.noun} [{self.arn(caller, path)}] does not exist.")
        return document

    def insert(
        self, service: Sagemaker, caller: Caller, path: str, document: Document, its_tags: list[dict[str, str]] | None
    ) -> Document:
        """Write a new one down with its ARN, its times and its tags, and let it go on.

        Raises:
            ResourceInUse: there is one of that path.
            ResourceLimitExceeded: it has too many tags.
        """
        now = time.time()
        its_arn = document.get(self.arn_key) or self.arn(caller, path)
        whole = {**document, self.arn_key: its_arn, "CreationTime": document.get("CreationTime", now)}
        whole["LastModifiedTime"] = now
        try:
            with service.store.undisturbed():
                with service.store.transaction():
                    service.store.insert(self.kind, caller.account, caller.region, path.lower(), whole)
                    tags.save(service, caller, its_arn, its_tags)
                self.went_on(service, caller, whole)
        except Duplicate:
            raise ResourceInUse(f"{self.noun} [{its_arn}] already exists.") from None
        return whole

    def change(
        self,
        service: Sagemaker,
        caller: Caller,
        path: str,
        change: Callable[[Document], None],
        status: str | None = None,
    ) -> Document:
        """Edit a document, and begin a status; `change` may refuse by an error, and nothing is written then.

        Raises:
            ResourceNotFound: there is none.
        """

        def edit(document: Document) -> None:
            change(document)
            document["LastModifiedTime"] = time.time()
            if status is not None:
                document[self.status_key] = status
                document.pop("FailureReason", None)

        with service.store.undisturbed():
            document = service.store.update(self.kind, caller.account, caller.region, path.lower(), edit)
            if document is None:
                raise ResourceNotFound(f"{self.noun} [{self.arn(caller, path)}] does not exist.")
            if status is not None:
                self.went_on(service, caller, document)
        return document

    def forget(self, service: Sagemaker, caller: Caller, path: str) -> None:
        """Remove a document and its tags."""
        with service.store.transaction():
            document = self.look_up(service, caller, path)
            if document is not None:
                service.store.delete(self.kind, caller.account, caller.region, path.lower())
                tags.forget(service, caller, document[self.arn_key])

    def described(self, document: Document) -> Document:
        """What a Describe call tells of a document."""
        return {key: value for key, value in document.items() if key not in self.hidden and value is not None}

    def refuse_in_motion(self, document: Document, verb: str) -> None:
        """Refuse a change while the last one is not finished.

        Raises:
            ResourceInUse: it is not.
        """
        status = document.get(self.status_key, "")
        if status in self.motions:
            raise ResourceInUse(
                f"Unable to {verb} {self.noun} [{document[self.arn_key]}] because it is in status {status}."
            )

    def went_on(self, service: Sagemaker, caller: Caller, document: Document) -> None:
        """Tell of a new status, and let it go on if it does: while the store is undisturbed since it was written, so that it is
        told before anybody can see it, and in the order in which it happens."""
        if self.changed is not None:
            self.changed(service, caller, document, tags.current(service, caller, document[self.arn_key]))
        notifications.publish(self.kind, document[self.arn_key])
        self.go_on(service, caller, document)

    def go_on(self, service: Sagemaker, caller: Caller, document: Document) -> None:
        """Let a status that does so go on, in the background."""
        motion = self.motions.get(document.get(self.status_key, ""))
        if motion is not None:
            path = self.path_of(document)
            studio_of(service).run(motion.seconds, lambda: self._settle(service, caller, path))

    def path_of(self, document: Document) -> str:
        """The path of a document: what follows the kind in its ARN."""
        return str(document[self.arn_key]).partition(f":{self.kind}/")[2]

    def _settle(self, service: Sagemaker, caller: Caller, path: str) -> None:
        document = self.look_up(service, caller, path)
        motion = self.motions.get(document.get(self.status_key, "")) if document else None
        if document is None or motion is None:
            return
        reason, members = "", {}
        try:
            members = dict(motion.work(service, caller, document) or {})
        except (Failed, RoleRefused, ApiError, ClientError) as error:
            reason = str(error) or type(error).__name__
        except BotoCoreError as error:
            if studio_of(service).stopping.is_set():
                # The services around are ending, too: the next start goes on.
                return
            reason = str(error)
        except Exception:
            logger.exception("%s %s could not go on from %s", self.noun, path, document[self.status_key])
            reason = "The local cloud failed; see its log (sagestack logs --cloud)."
        status = motion.failed if reason else motion.to
        if status is None:
            with service.store.undisturbed():
                last_tags = tags.current(service, caller, document[self.arn_key])
                self.forget(service, caller, path)
                notifications.publish(self.kind, document[self.arn_key])
                if self.changed is not None:
                    self.changed(service, caller, {**document, self.status_key: "DELETED"}, last_tags)
            return

        def settled(found: Document) -> None:
            found.update(members)
            found[self.status_key], found["LastModifiedTime"] = status, time.time()
            if reason:
                found["FailureReason"] = reason[:1024]

        with service.store.undisturbed():
            written = service.store.update(self.kind, caller.account, caller.region, path.lower(), settled)
            if written is not None:
                self.went_on(service, caller, written)
        logger.info("%s %s is %s%s", self.noun, path, status, f": {reason}" if reason else "")


def resume(service: Sagemaker, entities: tuple[Entity, ...]) -> None:
    """Let go on what a killed local cloud left in motion."""
    for entity in entities:
        for account, region, document in service.store.everywhere(entity.kind):
            # Nobody called: what is resumed was allowed when it was asked for.
            entity.go_on(service, Caller(account, region, f"arn:aws:iam::{account}:root"), document)
