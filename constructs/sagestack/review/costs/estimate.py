"""Goes through an environment's resources and asks, for each, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.costs import functions, network, notebooks, storage, studio, watching
from sagestack.review.costs.endpoints import endpoint
from sagestack.review.costs.jobs import pipeline
from sagestack.review.costs.site import Site
from sagestack.review.prices import Prices
from sagestack.review.results import CostEstimate, CostLine
from sagestack.settings.accounts import LOCAL_ACCOUNT
from sagestack.settings.load import Load

_PAID: dict[str, Callable[[Site, Resource], Iterable[CostLine]]] = {
    "AWS::ApiGatewayV2::Api": functions.api,
    "AWS::ApplicationAutoScaling::ScalingPolicy": watching.scaling_policy,
    "AWS::CloudWatch::Alarm": watching.alarm,
    "AWS::CloudWatch::CompositeAlarm": watching.composite_alarm,
    "AWS::CloudWatch::Dashboard": watching.dashboard,
    "AWS::EC2::EIP": network.address,
    "AWS::EC2::NatGateway": network.nat_gateway,
    "AWS::EC2::VPCEndpoint": network.interface_endpoint,
    "AWS::ECR::Repository": storage.repository,
    "AWS::EFS::FileSystem": storage.file_system,
    "AWS::Events::EventBus": functions.event_bus,
    "AWS::KMS::Key": storage.key,
    "AWS::KMS::ReplicaKey": storage.key,
    "AWS::Lambda::Function": functions.function,
    "AWS::Logs::LogGroup": watching.log_group,
    "AWS::Logs::MetricFilter": watching.metric_filter,
    "AWS::S3::Bucket": storage.bucket,
    "AWS::SNS::Topic": functions.topic,
    "AWS::SQS::Queue": functions.queue,
    "AWS::SSM::Parameter": storage.parameter,
    "AWS::SageMaker::App": studio.app,
    "AWS::SageMaker::Domain": studio.domain,
    "AWS::SageMaker::Endpoint": endpoint,
    "AWS::SageMaker::NotebookInstance": notebooks.notebook,
    "AWS::SageMaker::Pipeline": pipeline,
    "AWS::SageMaker::Space": studio.space,
    "AWS::SecretsManager::Secret": storage.secret,
    "AWS::StepFunctions::StateMachine": functions.state_machine,
}

_FREE = frozenset(
    {
        "AWS::ApplicationAutoScaling::ScalableTarget",
        # Without actions: https://aws.amazon.com/aws-cost-management/aws-budgets/pricing/
        "AWS::Budgets::Budget",
        "AWS::CloudFormation::CustomResource",
        "AWS::CloudFormation::WaitCondition",
        "AWS::CloudFormation::WaitConditionHandle",
        "AWS::EC2::DHCPOptions",
        "AWS::EC2::EIPAssociation",
        # What it writes is counted at its log group.
        "AWS::EC2::FlowLog",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::NetworkAcl",
        "AWS::EC2::NetworkAclEntry",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetNetworkAclAssociation",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCDHCPOptionsAssociation",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::EFS::AccessPoint",
        "AWS::EFS::MountTarget",
        "AWS::Events::EventBusPolicy",
        "AWS::Events::Rule",
        "AWS::KMS::Alias",
        "AWS::Lambda::Alias",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::LayerVersionPermission",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Version",
        "AWS::Logs::LogStream",
        "AWS::Logs::QueryDefinition",
        "AWS::Logs::ResourcePolicy",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::SageMaker::AppImageConfig",
        "AWS::SageMaker::CodeRepository",
        "AWS::SageMaker::EndpointConfig",
        "AWS::SageMaker::Image",
        "AWS::SageMaker::ImageVersion",
        "AWS::SageMaker::InferenceComponent",
        "AWS::SageMaker::Model",
        "AWS::SageMaker::ModelCard",
        "AWS::SageMaker::ModelPackage",
        "AWS::SageMaker::ModelPackageGroup",
        "AWS::SageMaker::NotebookInstanceLifecycleConfig",
        "AWS::SageMaker::StudioLifecycleConfig",
        "AWS::SageMaker::UserProfile",
        # A millionth of a dollar each time: https://aws.amazon.com/eventbridge/pricing/
        "AWS::Scheduler::Schedule",
        "AWS::Scheduler::ScheduleGroup",
        "AWS::SecretsManager::ResourcePolicy",
        "AWS::SecretsManager::RotationSchedule",
    }
)
"""What costs nothing by itself: what it starts, keeps or lets through is counted where that is."""
_FREE_FAMILIES = ("AWS::IAM::", "Custom::", "AWS::CDK::", "AWS::ApiGatewayV2::")


def estimate(assembly: Assembly | None, prices: Prices, load: Load | None = None) -> CostEstimate:
    """Estimates what one side of an environment costs in a month of 730 hours, at list prices, without free tiers.

    Args:
        assembly: None for an environment that is not there, which costs nothing. So does what runs in the local cloud.
        prices: of each region; where a region has none its lines say so and have no price.
        load: None for the defaults of `Load`. Both sides of a change are to be compared at the same one.
    """
    load = load or Load()
    if assembly is None:
        return CostEstimate()
    lines = [
        line
        for stack in assembly.stacks.values()
        if stack.account != LOCAL_ACCOUNT
        for site in [Site(stack, prices.of(stack.region), load)]
        for resource in stack.resources.values()
        for line in _lines(site, resource)
    ]
    return CostEstimate(tuple(lines), at_load=load.in_words)


def _lines(site: Site, resource: Resource) -> Iterator[CostLine]:
    if is_free(resource.type):
        return
    exists = site.reading.exists(resource)
    if exists is False:
        return
    if exists is None:
        condition = resource.definition["Condition"]
        why = f"it is there only if condition {condition} holds, which the template does not tell"
        yield site.unknown(resource, resource.type, "idle", why)
    elif resource.type in _PAID:
        try:
            yield from list(_PAID[resource.type](site, resource))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            # A template that others wrote may hold what CloudFormation itself would refuse.
            why = f"its definition is not as CloudFormation describes it ({type(error).__name__}: {error})"
            yield site.unknown(resource, resource.type, "idle", why)
    else:
        yield site.unknown(resource, resource.type, "idle", f"what {resource.type} costs is not known here")


def is_free(resource_type: str) -> bool:
    """Whether a resource of this type costs nothing by itself."""
    return resource_type in _FREE or (resource_type.startswith(_FREE_FAMILIES) and resource_type not in _PAID)
