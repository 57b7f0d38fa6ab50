"""Which resources hold data, and what becomes of it when CloudFormation deletes or replaces them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sagestack.review.assembly import Resource, StackTemplate
from sagestack.review.changes.property_values import PROTECTIONS, is_on
from sagestack.review.intrinsics import references
from sagestack.review.results import Severity

Fate = Literal["none", "kept", "lost", "refused"]

_KEEPS = {"Retain", "RetainExceptOnCreate"}
_SNAPSHOT_BY_DEFAULT = {"AWS::RDS::DBCluster", "AWS::RDS::DBInstance"}


@dataclass(frozen=True)
class Held:
    """What a type of resource holds.

    Attributes:
        what: in a reviewer's words, to stand after "without".
        deletion: what a deletion means: `lost`, `refused` while there is anything in it, or `kept` elsewhere.
        how: what AWS does then; says more than "is deleted".
        emptied: the property with which AWS empties it first, so that a refusal becomes a loss.
        weight: of a loss. Logs and what passes through weigh less than what people rely on.
    """

    what: str
    deletion: Fate = "lost"
    how: str | None = None
    emptied: str | None = None
    weight: Severity = Severity.DANGER


_LEFT = "CloudFormation tries three times, and goes on without it: it stays in the account, outside of the stack"

HELD: Mapping[str, Held] = {
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    "AWS::S3::Bucket": Held(
        "its objects", "refused", f"S3 refuses to delete a bucket that is not empty. {_LEFT}; an empty one is gone"
    ),
    "AWS::S3Express::DirectoryBucket": Held("its objects", "refused", f"S3 refuses while it is not empty. {_LEFT}"),
    # https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
    "AWS::KMS::Key": Held(
        "everything that is encrypted with it",
        "lost",
        "The key is scheduled for deletion, and after its waiting period nothing that it encrypted can be read again; "
        "until then `aws kms cancel-key-deletion` brings it back",
    ),
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ecr-repository.html
    "AWS::ECR::Repository": Held(
        "its images", "refused", f"ECR refuses to delete a repository that has images. {_LEFT}", emptied="EmptyOnDelete"
    ),
    "AWS::DynamoDB::Table": Held("its items"),
    "AWS::DynamoDB::GlobalTable": Held("its items"),
    "AWS::EFS::FileSystem": Held("its files"),
    "AWS::FSx::FileSystem": Held("its files"),
    "AWS::EC2::Volume": Held("what is on it"),
    "AWS::RDS::DBInstance": Held("its databases"),
    "AWS::RDS::DBCluster": Held("its databases"),
    "AWS::DocDB::DBCluster": Held("its collections"),
    "AWS::Neptune::DBCluster": Held("its graphs"),
    "AWS::Redshift::Cluster": Held("its tables"),
    "AWS::ElastiCache::ReplicationGroup": Held("what it caches", weight=Severity.WARNING),
    "AWS::ElastiCache::CacheCluster": Held("what it caches", weight=Severity.WARNING),
    "AWS::OpenSearchService::Domain": Held("its indices"),
    "AWS::Kinesis::Stream": Held("records that nobody has read yet"),
    "AWS::SQS::Queue": Held("messages that wait in it", weight=Severity.WARNING),
    "AWS::Events::Archive": Held("the events that it archived"),
    "AWS::Logs::LogGroup": Held("its log events", weight=Severity.WARNING),
    "AWS::SecretsManager::Secret": Held("the secret value"),
    "AWS::Cognito::UserPool": Held("its users and their passwords"),
    "AWS::CodeCommit::Repository": Held("its commits"),
    # https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault.html
    "AWS::Backup::BackupVault": Held(
        "its recovery points", "refused", f"AWS Backup refuses to delete a vault that has any. {_LEFT}"
    ),
    # https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-delete-model-group.html
    "AWS::SageMaker::ModelPackageGroup": Held(
        "the model versions that are registered in it",
        "refused",
        f"SageMaker refuses to delete a group that has versions. {_LEFT}",
    ),
    "AWS::SageMaker::ModelPackage": Held("the registered version, which endpoints may be pinned to"),
    "AWS::SageMaker::Pipeline": Held("the history of its executions", weight=Severity.WARNING),
    # https://docs.aws.amazon.com/sagemaker/latest/dg/howitworks-create-ws.html
    "AWS::SageMaker::NotebookInstance": Held(
        "the files in /home/ec2-user/SageMaker", "lost", "Its volume is deleted with it"
    ),
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_RetentionPolicy.html
    "AWS::SageMaker::Domain": Held(
        "the home directories of its users",
        "kept",
        "SageMaker keeps its EFS file system, which no domain mounts any more",
    ),
    "AWS::SageMaker::UserProfile": Held(
        "the home directory of its user", "kept", "SageMaker keeps the directory in the domain's file system"
    ),
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteSpace.html
    "AWS::SageMaker::Space": Held("what is on its volume", "lost", "SageMaker deletes the volume with the space"),
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteFeatureGroup.html
    "AWS::SageMaker::FeatureGroup": Held(
        "the records in its online store",
        "lost",
        "The offline store's objects in S3 stay; the online store is gone at once",
    ),
    "AWS::SageMaker::MlflowTrackingServer": Held(
        "the runs and metrics that it tracked", "lost", "The artifacts in S3 stay; what says what they are does not"
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What becomes of the data of one resource.

    Attributes:
        sentence: for a reviewer; None where there is nothing to say.
        weight: how much a loss of it would weigh.
    """

    fate: Fate
    sentence: str | None = None
    weight: Severity = Severity.DANGER


def holds_data(resource: Resource) -> bool:
    """Whether anything would be missed."""
    return resource.type in HELD


def outcome_of_deletion(resource: Resource, stack: StackTemplate) -> Outcome:
    """What becomes of the data of what leaves the template, by the policy in the template that is deployed."""
    return _outcome(resource, stack, "DeletionPolicy")


def outcome_of_replacement(
    resource: Resource, successor: Resource, stack: StackTemplate, attribute: str = "UpdateReplacePolicy"
) -> Outcome:
    """What becomes of the data in the old one; whatever does, the new one starts without.

    Args:
        resource: the old one.
        successor: whose policy counts. A replacement goes by the template that replaces; a changed logical id is a deletion,
            which goes by the `DeletionPolicy` of the old one.
        stack: of the old one.
        attribute: the policy.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatereplacepolicy.html
    """
    return _outcome(resource, stack, attribute, successor)


def _outcome(resource: Resource, stack: StackTemplate, attribute: str, successor: Resource | None = None) -> Outcome:
    held = HELD.get(resource.type)
    if held is None:
        return Outcome("none")
    policy = policy_of(successor or resource, attribute)
    begin = f"The new one starts without {held.what}." if successor else f"It holds {held.what}."
    if policy in _KEEPS:
        kept = f"{begin} The old one is kept" if successor else f"Kept with {held.what}"
        return Outcome("kept", f"{kept} ({attribute} {policy}), outside of the stack from then on.", held.weight)
    if policy == "Snapshot":
        return Outcome("kept", f"{begin} A snapshot is kept ({attribute} Snapshot).", held.weight)
    if with_it := _deleted_with_it(resource, stack):
        return Outcome("lost", f"{begin} {with_it}", held.weight)
    if held.deletion == "kept":
        return Outcome("kept", f"{begin} {held.how}.", held.weight)
    if resource.type == "AWS::SageMaker::FeatureGroup" and "OnlineStoreConfig" not in resource.properties:
        return Outcome("kept", "Its offline store's objects stay in S3; it has no online store.", held.weight)
    protection = next((name for name in PROTECTIONS if is_on(resource.properties.get(name))), None)
    if protection:
        return Outcome("refused", f"{begin} AWS refuses to delete it ({protection}). {_LEFT}.", held.weight)
    if held.deletion == "refused" and not _is_emptied(resource, stack, held):
        return Outcome("refused", f"{begin} {held.how} ({attribute} {policy}).", held.weight)
    how = f" {held.how}." if held.how and held.deletion == "lost" else ""
    gone = "emptied and deleted" if held.deletion == "refused" else "deleted"
    lost = f"{begin} The old one is {gone}" if successor else f"{gone.capitalize()} with {held.what}"
    return Outcome("lost", f"{lost} ({attribute} {policy}).{how}", held.weight)


def _deleted_with_it(resource: Resource, stack: StackTemplate) -> str | None:
    """What our own resources beside a Studio domain and its profiles delete, which SageMaker by itself would keep."""
    beside = {
        each.type: each.properties
        for each in stack.resources.values()
        if each.properties.get("DomainLogicalId") == resource.logical_id
        or each.properties.get("UserProfileName") == resource.properties.get("UserProfileName", "")
    }
    residue = beside.get("Custom::SagestackStudioResidue")
    if resource.type == "AWS::SageMaker::Domain" and residue and residue.get("HomeDirectories") == "delete":
        return "The stack deletes its file system after it (home_directories), and before it all spaces with their volumes."
    if resource.type == "AWS::SageMaker::UserProfile" and "Custom::SagestackStudioProfileContents" in beside:
        return "The stack deletes the private spaces that the person made, with their volumes; the directory itself is kept."
    return None


def policy_of(resource: Resource, attribute: str) -> str:
    """`DeletionPolicy` or `UpdateReplacePolicy`, with CloudFormation's own defaults."""
    if attribute in resource.definition:
        return str(resource.definition[attribute])
    is_database = resource.type in _SNAPSHOT_BY_DEFAULT and "DBClusterIdentifier" not in resource.properties
    return "Snapshot" if attribute == "DeletionPolicy" and is_database else "Delete"


def strength(policy: str) -> int:
    """How much of the data a policy saves: a higher number more."""
    return {"Retain": 2, "RetainExceptOnCreate": 2, "Snapshot": 1}.get(policy, 0)


def _is_emptied(resource: Resource, stack: StackTemplate, held: Held) -> bool:
    if held.emptied and is_on(resource.properties.get(held.emptied)):
        return True
    # CDK's `auto_delete_objects`.
    return any(
        other.type == "Custom::S3AutoDeleteObjects"
        and any(each.logical_id == resource.logical_id for each in references(other.properties.get("BucketName")))
        for other in stack.resources.values()
    )
