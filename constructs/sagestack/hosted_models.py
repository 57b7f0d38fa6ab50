"""What an endpoint's containers are: versions of the registry, or the archives below a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.network import vpc_config

_Container = sagemaker.CfnModel.ContainerDefinitionProperty


class Versions(Protocol):
    """A registry, of whichever account."""

    def model_package_arn(self, version: int) -> str:
        """The ARN of one version."""
        ...


@dataclass(frozen=True)
class Beside:
    """Another model that shares the instances: its name, which its container has, and its pinned version."""

    name: str
    model_package_arn: str


@dataclass(frozen=True)
class RegisteredModel:
    """Versions of one model, each in a container of its own; with other models beside it where it is laid out so.

    A package rather than an image and an artefact, so that what runs is always something the registry approved.

    Attributes:
        name: of the model; where there are several containers, this one's.
        versions: the registry.
        served_version: the pinned one.
        mode: how several containers are asked: `Serial`, in a row and this one first, or `Direct`, each by its name.
            None where there is one.
        beside: the other models, where there is a mode.
    """

    name: str
    versions: Versions
    served_version: int
    mode: Literal["Serial", "Direct"] | None = None
    beside: Sequence[Beside] = ()

    def containers(self, version: int | None = None) -> list[_Container]:
        """The containers of one version; of the served one unless told otherwise."""
        own = self.versions.model_package_arn(self.served_version if version is None else version)
        if self.mode is None:
            return [_Container(model_package_name=own)]
        return [
            _Container(model_package_name=arn, container_hostname=name)
            for name, arn in ((self.name, own), *((other.name, other.model_package_arn) for other in self.beside))
        ]

    def model_package_arns(self, others: Sequence[int] = ()) -> list[str]:
        """Everything of the registry that is served: this version, others of the model, and the models beside it."""
        own = [self.versions.model_package_arn(version) for version in (self.served_version, *others)]
        return [*own, *(other.model_package_arn for other in self.beside)]

    def grant_read(self, role: iam.IRole) -> None:
        """Nothing: what reads the models of a registry's versions is said where they come from."""


@dataclass(frozen=True)
class Archives:
    """Any number of models in one container, which loads them when they are asked for.

    A registry package cannot be served so: it names one artefact, and a multi-model container a prefix with many. So here
    the image is pinned in git, by the hash of what goes into it, and the models are whatever archives lie below
    the prefix: who may write there decides what is served. A caller names one in `TargetModel`.
    https://docs.aws.amazon.com/sagemaker/latest/dg/create-multi-model-endpoint.html

    Attributes:
        image_uri: the image, which must speak the multi-model protocol (Sagestack's XGBoost image does).
        bucket: where the archives are.
        prefix: their keys begin so, with a slash at the end.
    """

    image_uri: str
    bucket: s3.IBucket
    prefix: str

    def containers(self, version: int | None = None) -> list[_Container]:
        """The one container. It has no versions."""
        if version is not None:
            raise ValueError(f"archives have no versions, and version {version} was asked for")
        return [
            _Container(
                image=self.image_uri, mode="MultiModel", model_data_url=self.bucket.s3_url_for_object(self.prefix)
            )
        ]

    mode: ClassVar[None] = None  # one container is just asked

    def model_package_arns(self, others: Sequence[int] = ()) -> list[str]:
        """Nothing is of the registry."""
        return []

    def grant_read(self, role: iam.IRole) -> None:
        """Lets the endpoint list and fetch the archives."""
        self.bucket.grant_read(role, f"{self.prefix}*")


class HostedModel(Construct):
    """A SageMaker model: containers and the role they act as. It has no name and no network.

    All properties of a model but its tags replace it, and CloudFormation can only create the new one before it deletes the
    old if their names differ.

    Attributes:
        model_name: a token until deployment.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        containers: Sequence[_Container],
        mode: Literal["Serial", "Direct"] | None,
        role: iam.IRole,
        network: settings.Network | None,
        is_isolated: bool = True,  # a container has all that it needs; a dependency that phones home cannot
    ) -> None:
        """Makes the model once the role may read it.

        Args:
            containers: one, or up to 15.
            mode: how several are asked.
            role: what SageMaker acts as.
            network: where SageMaker puts network interfaces. None: in no VPC of ours.
            is_isolated: whether the containers have no network. False is for serverless endpoints alone, where SageMaker
                refuses isolation: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
        """
        super().__init__(scope, id)
        vpc = vpc_config(network)
        model = sagemaker.CfnModel(
            self,
            "Resource",
            execution_role_arn=role.role_arn,
            primary_container=containers[0] if mode is None else None,
            containers=None if mode is None else containers,
            inference_execution_config=sagemaker.CfnModel.InferenceExecutionConfigProperty(mode=mode) if mode else None,
            enable_network_isolation=is_isolated or None,
            vpc_config=sagemaker.CfnModel.VpcConfigProperty(
                subnets=vpc["Subnets"], security_group_ids=vpc["SecurityGroupIds"]
            )
            if vpc
            else None,
        )
        # The role's ARN alone would let SageMaker read the artefact before the policy that permits it exists.
        model.node.add_dependency(role)
        self.model_name = model.attr_model_name
