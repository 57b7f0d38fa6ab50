"""Notebook instances, lifecycle configurations and code repositories in templates.

Which properties need a replacement follows the types' schemas in the CloudFormation registry:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_SageMaker.html
"""

from __future__ import annotations

from typing import Any

from local_cloud.sagemaker.cloudformation import Properties, Provisioned, Provisioner, ProvisioningError, ResourceType
from local_cloud.sagemaker.service import name_of


class NotebookInstanceProvisioner(Provisioner):
    """An instance can be changed and deleted only when it is stopped, so it is stopped for that."""

    transient = ("Pending", "Stopping", "Updating")

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Provisioned:
        """Stop the instance if it runs, change it, and start it again; one that somebody had stopped is left stopped.

        One that failed is started, too: it is what a stack's roll-back meets, whose update a broken script failed.
        """
        name, arn = name_of(physical_id), str(self._describe(physical_id)["NotebookInstanceArn"])
        self._update_tags(arn, old.get("Tags") or [], new.get("Tags") or [])
        if _without_tags(old) != _without_tags(new):
            was_stopped = self._stopped(arn) == "Stopped"
            request = self._request("Update", new) | _disassociations(old, new)
            self._call("UpdateNotebookInstance", {**request, "NotebookInstanceName": name})
            self._settled(arn)
            if not was_stopped:
                self._call("StartNotebookInstance", {"NotebookInstanceName": name})
                self._await_service(arn, delete_if_failed=False)
        return self._provisioned(arn)

    def delete(self, physical_id: str, properties: Properties) -> None:
        """Stop the instance if it runs, and delete it with its volume."""
        try:
            arn = str(self._describe(physical_id)["NotebookInstanceArn"])
        except ProvisioningError:
            return
        self._stopped(arn)
        super().delete(physical_id, properties)

    def _stopped(self, arn: str) -> str:
        """Stop an instance that runs; which status it had."""
        status = str(self._settled(arn)[self._status_key])
        if status == "InService":
            self._call("StopNotebookInstance", {"NotebookInstanceName": name_of(arn)})
            self._settled(arn)
        return status


class LifecycleConfigProvisioner(Provisioner):
    """Instances have a changed script at their next start; nothing restarts them."""

    def update(self, physical_id: str, old: Properties, new: Properties, stack_name: str) -> Provisioned:
        """Change the scripts; one that the template no longer has is taken away."""
        return super().update(physical_id, old, {"OnCreate": [], "OnStart": [], **new}, stack_name)


class CodeRepositoryProvisioner(Provisioner):
    """Another secret is an update; another address or branch is another repository."""

    def update(self, physical_id: str, old: Properties, new: Properties, stack_name: str) -> Provisioned:
        """Change the secret, or make the repository that replaces this one."""
        before, after = dict(old.get("GitConfig") or {}), dict(new.get("GitConfig") or {})
        name = name_of(str(self._describe(physical_id)["CodeRepositoryName"]))
        moved = any(before.get(key) != after.get(key) for key in ("RepositoryUrl", "Branch"))
        # No call of the API takes a secret away.
        if moved or (before.get("SecretArn") and not after.get("SecretArn")):
            if new.get("CodeRepositoryName"):
                raise ProvisioningError(
                    "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename "
                    f"{name} and update the stack again."
                )
            return self.create(name.rpartition("-")[0], new, stack_name)
        secret = {"SecretArn": after["SecretArn"]} if after.get("SecretArn") else {}
        return super().update(physical_id, {**old, "GitConfig": {}}, {**new, "GitConfig": secret}, stack_name)


def _without_tags(properties: Properties) -> Properties:
    return {key: value for key, value in properties.items() if key != "Tags"}


def _disassociations(old: Properties, new: Properties) -> dict[str, Any]:
    """The API takes away what it is told to, and a template what it no longer has."""
    members = {
        "LifecycleConfigName": "DisassociateLifecycleConfig",
        "DefaultCodeRepository": "DisassociateDefaultCodeRepository",
        "AdditionalCodeRepositories": "DisassociateAdditionalCodeRepositories",
    }
    return {flag: True for member, flag in members.items() if old.get(member) and not new.get(member)}


RESOURCE_TYPES: dict[ResourceType, type[Provisioner]] = {
    ResourceType(
        "AWS::SageMaker::NotebookInstance",
        "NotebookInstance",
        "NotebookInstanceName",
        "NotebookInstanceArn",
        # The API changes a platform in place; the type's schema does not.
        replacing=(
            "NotebookInstanceName",
            "SubnetId",
            "SecurityGroupIds",
            "KmsKeyId",
            "DirectInternetAccess",
            "PlatformIdentifier",
        ),
        settles=True,
    ): NotebookInstanceProvisioner,
    ResourceType(
        "AWS::SageMaker::NotebookInstanceLifecycleConfig",
        "NotebookInstanceLifecycleConfig",
        "NotebookInstanceLifecycleConfigName",
        "NotebookInstanceLifecycleConfigArn",
        replacing=("NotebookInstanceLifecycleConfigName",),
    ): LifecycleConfigProvisioner,
    ResourceType(
        "AWS::SageMaker::CodeRepository",
        "CodeRepository",
        "CodeRepositoryName",
        "CodeRepositoryArn",
        replacing=("CodeRepositoryName",),
    ): CodeRepositoryProvisioner,
}
"""How each of the types is made."""
