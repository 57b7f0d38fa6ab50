"""How a resource type of Studio maps to the API: found by its identifier's parts, and waited for by its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from local_cloud.sagemaker.cloudformation import Properties, Provisioned, Provisioner, ProvisioningError


class StudioProvisioner(Provisioner):
    """A resource that is found by the members that its identifier is made of."""

    transient = ("Pending", "Updating", "Deleting", "CREATING", "UPDATING", "DELETING")
    succeeded: ClassVar[tuple[str, ...]] = ("InService", "CREATED")
    identifier: ClassVar[tuple[str, ...]] = ()
    """The members that identify it, in the order of the schema."""

    def create(self, _logical_id: str, properties: Properties, _stack_name: str) -> Provisioned:
        """Create a resource and wait until it is in service."""
        answer = self._call(f"Create{self.kind.noun}", self._create_request(properties))
        key = self._key_of({**properties, **answer})
        if self.kind.settles:
            self._await(key, delete_if_failed=True)
        return self._made(key)

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Provisioned:
        """Change a resource in place; what needs a replacement never comes here."""
        key = self._parse(physical_id)
        arn = str(self._call(f"Describe{self.kind.noun}", key)[self.kind.arn_key])
        self._update_tags(arn, old.get("Tags") or [], new.get("Tags") or [])
        before, after = ({k: v for k, v in each.items() if k != "Tags"} for each in (old, new))
        if before != after:
            self._change(key, before, after)
            if self.kind.settles:
                self._await(key, delete_if_failed=False)
        return self._made(key)

    def delete(self, physical_id: str, _properties: Properties) -> None:
        """Delete a resource and wait until it is gone; one that is gone already is fine."""
        key = self._parse(physical_id)
        if self._gone(key):
            return
        self._call(f"Delete{self.kind.noun}", key)
        self._await_end(key)

    def _create_request(self, properties: Properties) -> Properties:
        return self._request("Create", self.kind.to_request(properties))

    def _change(self, key: Properties, _old: Properties, new: Properties) -> None:
        self._call(f"Update{self.kind.noun}", {**self._request("Update", self.kind.to_request(new)), **key})

    def _key_of(self, members: Mapping[str, Any]) -> Properties:
        return {member: members[member] for member in self.identifier}

    def _parse(self, physical_id: str) -> Properties:
        """The members that an identifier stands for."""
        return dict(zip(self.identifier, physical_id.split("|"), strict=False))

    def _identify(self, described: Properties) -> str:
        return "|".join(str(described[member]) for member in self.identifier)

    def _made(self, key: Properties) -> Provisioned:
        described = self._call(f"Describe{self.kind.noun}", key)
        attributes = {name: value for name, value in described.items() if isinstance(value, str | int | float | bool)}
        identifier = self._identify(described)
        return identifier, {**attributes, "Id": identifier, "Arn": described[self.kind.arn_key]}

    @property
    def _status_key(self) -> str:
        return f"{self.kind.noun}Status" if self.kind.noun.startswith("Image") else "Status"

    def _describe(self, physical_id: str) -> Properties:
        return self._call(f"Describe{self.kind.noun}", self._parse(physical_id))

    def _await(self, key: Properties, *, delete_if_failed: bool) -> None:
        identifier = "|".join(str(value) for value in key.values())
        described = self._settled(identifier)
        if described[self._status_key] in self.succeeded:
            return
        reason = described.get("FailureReason") or f"it is {described[self._status_key]}"
        if delete_if_failed:
            # CloudFormation removes what it failed to create; the reason stays in the stack's events.
            self._remove_failed(key)
        raise ProvisioningError(f"{self.kind.noun} {identifier} did not stabilize: {reason}")

    def _remove_failed(self, key: Properties) -> None:
        self._call(f"Delete{self.kind.noun}", key)
        self._await_end(key)

    def _await_end(self, key: Properties) -> None:
        """Wait until a resource is gone; one whose deletion fails says why."""
        identifier = "|".join(str(value) for value in key.values())
        while not self._gone(key):
            described = self._ended(identifier)
            if described is not None and described[self._status_key] not in self.transient:
                raise ProvisioningError(
                    f"{self.kind.noun} {identifier} did not stabilize: "
                    f"{described.get('FailureReason') or described[self._status_key]}"
                )

    def _ended(self, identifier: str) -> Properties | None:
        try:
            return self._settled(identifier)
        except ProvisioningError:
            return None

    def _gone(self, key: Properties) -> bool:
        try:
            self._call(f"Describe{self.kind.noun}", key)
        except ProvisioningError:
            return True
        return False
