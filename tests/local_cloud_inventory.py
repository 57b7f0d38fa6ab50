"""All that is in a local cloud, by kind: what a story asks before and after, to find what was left behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.local_cloud_fixtures import LocalCloud

_LISTS: Mapping[str, tuple[str, str, str, str]] = {
    "domain": ("sagemaker", "list_domains", "Domains", "DomainId"),
    "user profile": ("sagemaker", "list_user_profiles", "UserProfiles", "UserProfileName"),
    "space": ("sagemaker", "list_spaces", "Spaces", "SpaceName"),
    "notebook instance": ("sagemaker", "list_notebook_instances", "NotebookInstances", "NotebookInstanceName"),
    "notebook lifecycle config": (
        "sagemaker",
        "list_notebook_instance_lifecycle_configs",
        "NotebookInstanceLifecycleConfigs",
        "NotebookInstanceLifecycleConfigName",
    ),
    "studio lifecycle config": (
        "sagemaker",
        "list_studio_lifecycle_configs",
        "StudioLifecycleConfigs",
        "StudioLifecycleConfigName",
    ),
    "code repository": ("sagemaker", "list_code_repositories", "CodeRepositorySummaryList", "CodeRepositoryName"),
    "image": ("sagemaker", "list_images", "Images", "ImageName"),
    "app image config": ("sagemaker", "list_app_image_configs", "AppImageConfigs", "AppImageConfigName"),
    "file system": ("efs", "describe_file_systems", "FileSystems", "FileSystemId"),
    "VPC": ("ec2", "describe_vpcs", "Vpcs", "VpcId"),
    "subnet": ("ec2", "describe_subnets", "Subnets", "SubnetId"),
    "security group": ("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
    "network interface": ("ec2", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    "VPC endpoint": ("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    "route table": ("ec2", "describe_route_tables", "RouteTables", "RouteTableId"),
    "flow log": ("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    "role": ("iam", "list_roles", "Roles", "RoleName"),
    "policy": ("iam", "list_policies", "Policies", "Arn"),
    "function": ("lambda", "list_functions", "Functions", "FunctionName"),
    "state machine": ("stepfunctions", "list_state_machines", "stateMachines", "name"),
    "topic": ("sns", "list_topics", "Topics", "TopicArn"),
    "schedule": ("scheduler", "list_schedules", "Schedules", "Name"),
    "schedule group": ("scheduler", "list_schedule_groups", "ScheduleGroups", "Name"),
    "rule": ("events", "list_rules", "Rules", "Name"),
    "alarm": ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "log group": ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "parameter": ("ssm", "describe_parameters", "Parameters", "Name"),
    "secret": ("secretsmanager", "list_secrets", "SecretList", "Name"),
    "bucket": ("s3", "list_buckets", "Buckets", "Name"),
}


def inventory(cloud: LocalCloud) -> dict[str, set[str]]:
    """What there is, by kind, as names or ids. Deleted apps, which are listed for a day, are not."""
    found = {kind: _all(cloud, *how) for kind, how in _LISTS.items()}
    apps = cloud.client("sagemaker").list_apps()["Apps"]
    found["app"] = {app["AppName"] for app in apps if app["Status"] != "Deleted"}
    budgets = cloud.client("budgets").describe_budgets(AccountId=cloud.account).get("Budgets", [])
    found["budget"] = {each["BudgetName"] for each in budgets}
    volumes = cloud.state_dir / "notebooks"
    found["volume"] = {path.name for path in volumes.iterdir()} if volumes.is_dir() else set()
    return found


def left_behind(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """What is there after and was not before, by kind."""
    more = {kind: names - before.get(kind, set()) for kind, names in after.items()}
    return {kind: names for kind, names in more.items() if names}


def left_by_stacks(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """What deleted stacks have left behind: nothing but logs, of which two kinds do not count.

    SageMaker's own log group is the account's, on AWS as here. And a function of CDK's framework that says its last words
    after its log group was deleted makes it again, as its managed policy lets it.
    """
    left = left_behind(before, after)
    logs = left.pop("log group", set())
    if not_expected := {each for each in logs if not each.endswith("NotebookInstances") and "ProviderLogs" not in each}:
        left["log group"] = not_expected
    return left


def _all(cloud: LocalCloud, service: str, operation: str, key: str, name: str) -> set[str]:
    client = cloud.client(service)
    if client.can_paginate(operation):
        pages = client.get_paginator(operation).paginate()
        return {str(item[name]) for page in pages for item in page.get(key, [])}
    call: Callable[[], Any] = getattr(client, operation)
    return {str(item[name]) for item in call().get(key, [])}
