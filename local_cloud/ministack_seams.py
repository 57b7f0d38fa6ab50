"""The one module that knows MiniStack: where SageMaker is hooked into it, and how the rest of it is used.

MiniStack is pinned exactly; tests/test_local_cloud_seams.py holds every name of it that is used here.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import botocore.config
import botocore.session
from ministack.core import iam_actions, iam_evaluator, persistence, responses, router
from ministack.services import cloudformation as cloudformation_service
from ministack.services import cloudwatch, cloudwatch_logs, eventbridge, sts
from ministack.services.cloudformation import provisioners, stacks

from local_cloud import ministack_cloudwatch
from local_cloud.autoscaling import background as autoscaling
from local_cloud.autoscaling import cloudformation as autoscaling_cloudformation
from local_cloud.autoscaling.service import SERVICE as AUTOSCALING
from local_cloud.ministack_roles import credentials_for
from local_cloud.ministack_scope import in_scope
from local_cloud.platform import Caller, Credentials
from local_cloud.sagemaker import access_conditions, service
from local_cloud.sagemaker.asynchronous import async_invocations
from local_cloud.sagemaker.errors import AccessDenied, NotEmulated
from local_cloud.sagemaker.hosting import invocations
from local_cloud.sagemaker.resource_types import RESOURCE_TYPES
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.studio import authorization as studio_authorization

logger = logging.getLogger(__name__)

SERVICE_PRINCIPAL = "sagemaker.amazonaws.com"
_INVOCATION_PATH = re.compile(
    r"^/endpoints/(?P<name>[^/]+)/(?P<verb>invocations|async-invocations|invocations-response-stream)$"
)
_RESOURCE_NAMES = (
    # (request member, resource type in the ARN): which resource an IAM policy may name, per the service authorization reference.
    ("TrainingJobName", "training-job"),
    ("ProcessingJobName", "processing-job"),
    # Before the model, which its creation names too.
    ("TransformJobName", "transform-job"),
    ("PipelineName", "pipeline"),
    ("ModelPackageGroupName", "model-package-group"),
    # Before the endpoint, which the creation of a component names too.
    ("InferenceComponentName", "inference-component"),
    ("EndpointName", "endpoint"),
    ("EndpointConfigName", "endpoint-config"),
    ("ModelName", "model"),
    ("NotebookInstanceName", "notebook-instance"),
    ("NotebookInstanceLifecycleConfigName", "notebook-instance-lifecycle-config"),
    ("CodeRepositoryName", "code-repository"),
)
_TARGETS = {
    # https://docs.aws.amazon.com/sagemaker/latest/dg/multi-container-security.html, and multi-model-endpoint-security.html
    "x-amzn-sagemaker-target-model": "sagemaker:TargetModel",
    "x-amzn-sagemaker-target-container-hostname": "sagemaker:TargetContainerHostname",
}
"""The condition keys of InvokeEndpoint, by the headers that fill them."""
_targets: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("targets")
"""The condition keys of the request that is being authorized: MiniStack asks for them without its headers."""
_resource_tags: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("resource_tags")
"""Those of the resource that the request is about: MiniStack asks for them without it."""
_LOWER_CASE = (
    *("endpoint", "endpoint-config", "model", "inference-component"),
    *("notebook-instance", "notebook-instance-lifecycle-config", "code-repository"),
)
_ARN_MEMBERS = ("ResourceArn", "PipelineExecutionArn", "ModelPackageArn")

MAX_LOG_LINES = 20_000
MAX_LOG_CHARACTERS = 5_000_000
"""What is kept of one log stream. All logs are in memory and in one file that is written anew when a line is added: a
script that prints 200 MB would otherwise make everything after it slow, the end of the local cloud included."""
_KEPT_SHARE = 0.75
_DROPPED = "sagestackDroppedLines"
"""The key under which a log stream's own record says how many of its lines were dropped."""

T = TypeVar("T")

_threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="sagemaker-api")


class MiniStackPlatform:
    """The cloud around SageMaker, by MiniStack."""

    def __init__(self, endpoint_url: str, ca_bundle: Path) -> None:
        self._endpoint_url = endpoint_url
        self._ca_bundle = str(ca_bundle)
        self._session = botocore.session.Session()
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._lock = threading.Lock()

    def client(self, service_name: str, region: str, credentials: Credentials | None = None) -> Any:
        """See Platform."""
        key = (service_name, region, credentials.access_key_id if credentials else "")
        with self._lock:
            # Creating a client is not thread-safe, and costs tens of milliseconds: each is made once.
            if key not in self._clients:
                self._clients[key] = self._session.create_client(
                    service_name,
                    region_name=region,
                    endpoint_url=self._endpoint_url,
                    verify=self._ca_bundle,
                    aws_access_key_id=credentials.access_key_id if credentials else "test",
                    aws_secret_access_key=credentials.secret_access_key if credentials else "test",
                    aws_session_token=credentials.session_token if credentials else None,
                    config=botocore.config.Config(
                        retries={"mode": "standard", "max_attempts": 3},
                        max_pool_connections=32,
                        s3={"addressing_style": "path"},
                    ),
                )
            return self._clients[key]

    def client_environment(self, region: str) -> dict[str, str]:
        """See Platform."""
        return {
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "AWS_CA_BUNDLE": self._ca_bundle,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
        }

    def assume_role(self, role_arn: str, session_name: str) -> Credentials:
        """See Platform."""
        return credentials_for(SERVICE_PRINCIPAL, role_arn, session_name)

    def forget_session(self, credentials: Credentials) -> None:
        """See Platform."""
        sts._sessions.pop(credentials.access_key_id, None)
        with self._lock:
            for key in [key for key in self._clients if key[2] == credentials.access_key_id]:
                self._clients.pop(key)

    def denied(self, caller: Caller, action: str, resource_arn: str, context: Mapping[str, str]) -> str | None:
        """See Platform."""

        def decide() -> str | None:
            principal = iam_evaluator.resolve_principal(caller.access_key_id, caller.account)
            if isinstance(principal, iam_evaluator.AuthError):
                return str(principal.message)
            if principal.policies is None:
                return None
            result = iam_evaluator.evaluate(
                iam_evaluator.EvalContext(
                    principal_arn=principal.arn,
                    principal_type=principal.type,
                    principal_account=principal.account,
                    action=action,
                    resource_arn=resource_arn,
                    region=caller.region,
                    service_context={key.lower(): value for key, value in context.items()},
                    principal_keys=principal.keys,
                ),
                principal.policies,
                *principal.limits,
            )
            if result.decision == "Allow":
                return None
            return _denial(principal.arn, action, resource_arn, explicit=result.decision == "Deny")

        return in_scope(caller.account, caller.region, decide)

    def put_event(
        self, account: str, region: str, detail_type: str, detail: Mapping[str, Any], resources: list[str]
    ) -> None:
        """See Platform. A rule's target may be a function, so nothing here may hold the event loop."""
        entry = {
            "Source": "aws.sagemaker",
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": resources,
        }
        in_scope(account, region, lambda: eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True))

    def put_metric(
        self,
        account: str,
        region: str,
        namespace: str,
        name: str,
        value: float,
        unit: str,
        dimensions: Mapping[str, str],
    ) -> None:
        """See Platform."""
        in_scope(account, region, lambda: cloudwatch.record_metric(namespace, name, value, unit, dict(dimensions)))


def _denial(principal: str, action: str, resource_arn: str, *, explicit: bool) -> str:
    """IAM's sentence, as AWS documents it for troubleshooting access denied errors."""
    why = (
        "with an explicit deny in an identity-based policy"
        if explicit
        else f"because no identity-based policy allows the {action} action"
    )
    return f"User: {principal} is not authorized to perform: {action} on resource: {resource_arn} {why}"


def _namespace(body: bytes, params: Mapping[str, Any]) -> str:
    """The namespace that PutMetricData publishes to, of a request in JSON or as a form."""
    try:
        asked = json.loads(body) if body[:1] == b"{" else params
    except ValueError:
        return ""
    value = asked.get("Namespace", "")
    return str(value[0] if isinstance(value, list) and value else value)


def _parameter_path(body: bytes) -> str | None:
    """The path that GetParametersByPath names."""
    try:
        named = json.loads(body or b"{}")
    except ValueError:
        return None
    path = named.get("Path") if isinstance(named, dict) else None
    return path if isinstance(path, str) and path.startswith("/") else None


_OF_ONE_STREAM = (".CreateLogStream", ".GetLogEvents", ".PutLogEvents")
"""Of CloudWatch Logs. CreateLogStream, too: what AWS denies, it denies for `log-group:GROUP:log-stream:STREAM`."""


def _log_stream(body: bytes) -> str:
    """The stream that a request names, with its group, as in an ARN."""
    try:
        named = json.loads(body or b"{}")
    except ValueError:
        named = {}
    group, stream = (named.get(key, "") if isinstance(named, dict) else "" for key in ("logGroupName", "logStreamName"))
    return f"{group}:log-stream:{stream}"


def _only_alarm(body: bytes) -> str | None:
    """The alarm that DescribeAlarms names, in JSON as SDKs ask; None where it asks for none by name, or for several."""
    try:
        asked = json.loads(body) if body[:1] == b"{" else {}
    except ValueError:
        return None
    names = asked.get("AlarmNames") or []
    return str(names[0]) if isinstance(names, list) and len(names) == 1 else None


def install(sagemaker: Callable[[], Sagemaker]) -> None:
    """Make SageMaker a service of MiniStack: routing, IAM, CloudFormation types.

    Args:
        sagemaker: gives the service once it runs; requests come only after that.
    """
    from ministack import app

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, dict[str, str], bytes]:
        caller = _caller(headers, query)
        match = _INVOCATION_PATH.match(unquote(path))
        if match and match["verb"] == "invocations" and method == "POST":
            return await invocations.invoke(sagemaker(), caller, match["name"], headers, body)
        context = contextvars.copy_context()
        if match and match["verb"] == "async-invocations" and method == "POST":
            return await asyncio.get_running_loop().run_in_executor(
                _threads,
                lambda: context.run(async_invocations.invoke, sagemaker(), caller, match["name"], headers, body),
            )
        if match:
            return service.error_answer(NotEmulated.operation("InvokeEndpointWithResponseStream"))
        target = headers.get("x-amz-target", "")
        return await asyncio.get_running_loop().run_in_executor(
            _threads, lambda: context.run(service.answer, sagemaker(), caller, target, body)
        )

    async def handle_autoscaling(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, dict[str, str], bytes]:
        caller, target = _caller(headers, query), headers.get("x-amz-target", "")
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            _threads,
            lambda: context.run(service.answer, autoscaling.autoscaling_of(sagemaker()), caller, target, body),
        )

    app.SERVICE_HANDLERS["sagemaker"] = handle
    app.SERVICE_HANDLERS[AUTOSCALING] = handle_autoscaling
    router.SERVICE_PATTERNS[AUTOSCALING] = {
        "target_prefixes": ["AnyScaleFrontendService."],
        "host_patterns": [r"application-autoscaling\."],
        "credential_scope": AUTOSCALING,
    }
    iam_actions.SERVICE_TO_IAM_NAMESPACE[AUTOSCALING] = AUTOSCALING
    router.SERVICE_PATTERNS["sagemaker"] = {
        "target_prefixes": ["SageMaker."],
        "host_patterns": [r"(api|runtime)\.sagemaker\."],
    }
    iam_actions.SERVICE_TO_IAM_NAMESPACE["sagemaker"] = "sagemaker"
    iam_actions._BOTOCORE_SERVICE_MAP["sagemaker"] = ["sagemaker-runtime"]
    original_resource_arn = iam_actions.extract_resource_arn

    def extract_resource_arn(
        service_name: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        region: str,
        account: str,
    ) -> str:
        if service_name == "sagemaker":
            _targets.set({key: headers[header] for header, key in _TARGETS.items() if header in headers})
            resource_arn = _resource_arn(path, headers, body, region, account)
            _resource_tags.set(
                {
                    **access_conditions.of_resource(sagemaker(), account, region, resource_arn),
                    **studio_authorization.conditions(
                        sagemaker(), Caller(account, region, ""), _operation(headers), body
                    ),
                }
            )
            return resource_arn
        if service_name == AUTOSCALING:
            return _scaling_arn(headers, body, region, account)
        if service_name == "monitoring" and (alarm := _only_alarm(body)):
            # MiniStack asks for all alarms even where one is named.
            return f"arn:aws:cloudwatch:{region}:{account}:alarm:{alarm}"
        if service_name == "ssm" and (parameters := _parameter_path(body)):
            # MiniStack asks for all parameters even where a path is named.
            return f"arn:aws:ssm:{region}:{account}:parameter{parameters}"
        if service_name == "logs" and headers.get("x-amz-target", "").endswith(_OF_ONE_STREAM):
            # MiniStack asks for the group even where one stream of it is read or written.
            return f"arn:aws:logs:{region}:{account}:log-group:{_log_stream(body)}"
        return str(original_resource_arn(service_name, method, path, headers, body, query, region, account))

    iam_actions.extract_resource_arn = extract_resource_arn
    original_context = iam_actions.request_tag_context

    def request_tag_context(service_name: str, iam_action: str, body: bytes, params: Any) -> dict[str, Any]:
        context: dict[str, Any] = original_context(service_name, iam_action, body, params)
        if service_name == "monitoring" and iam_action == "cloudwatch:PutMetricData":
            # MiniStack knows no namespace, and a policy that is limited to one would permit nothing.
            return {**context, "cloudwatch:namespace": _namespace(body, params)}
        if service_name == AUTOSCALING:
            return {**context, **_scaling_conditions(body)}
        if service_name == "sagemaker":
            context |= {**_resource_tags.get({}), **access_conditions.of_request(iam_action, body)}
        if iam_action == "sagemaker:InvokeEndpoint":
            return {**context, **_targets.get({})}
        return context

    iam_actions.request_tag_context = request_tag_context
    original_denied_response = iam_actions.access_denied_response

    def access_denied_response(
        service_name: str, action: str, principal: str, request_id: str, **more: Any
    ) -> tuple[int, dict[str, str], bytes]:
        if service_name not in ("sagemaker", AUTOSCALING):
            answer: tuple[int, dict[str, str], bytes] = original_denied_response(
                service_name, action, principal, request_id, **more
            )
            return answer
        # SageMaker names the resource; MiniStack does so for some services only.
        return service.error_answer(
            AccessDenied(
                _denial(principal, action, more.get("resource_arn", "*"), explicit=more.get("explicit_deny", False))
            )
        )

    iam_actions.access_denied_response = access_denied_response

    for kind, make_provisioner in RESOURCE_TYPES.items():
        provisioner = make_provisioner(sagemaker, kind, _stack_caller)
        provisioners._RESOURCE_HANDLERS[kind.name] = {
            "create": provisioner.create,
            "update": provisioner.update,
            "delete": provisioner.delete,
        }
        provisioners._REPLACING_PROPERTIES[kind.name] = kind.replacing_properties()
        provisioners._STACK_TAG_PROPERTY[kind.name] = ("Tags", "list")
    for make in autoscaling_cloudformation.PROVISIONERS:
        scaling = make(lambda: autoscaling.autoscaling_of(sagemaker()), _stack_caller)
        provisioners._RESOURCE_HANDLERS[scaling.kind.name] = {
            "create": scaling.create,
            "update": scaling.update,
            "delete": scaling.delete,
        }
        provisioners._REPLACING_PROPERTIES[scaling.kind.name] = scaling.kind.replacing
    ours = {kind.name for kind in RESOURCE_TYPES}
    ours |= {make.kind.name for make in autoscaling_cloudformation.PROVISIONERS}
    original_runs_on_worker_thread = stacks._runs_on_worker_thread
    # Ours wait for servers to start, and call other services of this cloud: on the event loop that would be a deadlock.
    stacks._runs_on_worker_thread = lambda kind: kind in ours or original_runs_on_worker_thread(kind)

    original_append_log_events = cloudwatch_logs._append_log_events

    def append_log_events(stream: dict[str, Any], added: list[dict[str, Any]]) -> None:
        original_append_log_events(stream, added)
        _shorten(stream)

    cloudwatch_logs._append_log_events = append_log_events
    ministack_cloudwatch.install(sagemaker)


def _shorten(stream: dict[str, Any]) -> None:
    """Drop the oldest lines of a log stream that has grown beyond bounds, and leave a line that says how many."""
    events = stream["events"]
    size = sum(len(event["message"]) for event in events)
    if len(events) <= MAX_LOG_LINES and size <= MAX_LOG_CHARACTERS:
        return
    first = 0
    # Down to a part of the bounds, so that this is done once in a while and not with every batch.
    while len(events) - first > MAX_LOG_LINES * _KEPT_SHARE or size > MAX_LOG_CHARACTERS * _KEPT_SHARE:
        size -= len(events[first]["message"])
        cloudwatch_logs._log_records.pop(events[first]["eventId"], None)
        first += 1
    dropped = stream.get(_DROPPED, 0) + first - (1 if _DROPPED in stream else 0)
    stream[_DROPPED] = dropped
    words = f"[local cloud] {dropped} earlier lines were dropped: it keeps the end of a long log"
    note = {**events[first - 1], "message": words, "eventId": f"dropped-{dropped}"}
    with cloudwatch_logs._log_events_lock:
        stream["events"] = [note, *events[first:]]


def _caller(headers: dict[str, str], query: dict[str, list[str]]) -> Caller:
    return Caller(
        account=responses.get_account_id(),
        region=responses.get_region(),
        arn=iam_evaluator.caller_arn(),
        access_key_id=router.extract_access_key_id(headers, query),
    )


def _stack_caller() -> Caller:
    account = responses.get_account_id()
    return Caller(account=account, region=responses.get_region(), arn=f"arn:aws:iam::{account}:root")


def _operation(headers: Mapping[str, str]) -> str:
    return headers.get("x-amz-target", "").rsplit(".", 1)[-1]


def _resource_arn(path: str, headers: dict[str, str], body: bytes, region: str, account: str) -> str:
    """The resource that a SageMaker request is about, for IAM; `*` where a policy cannot name one."""
    prefix = f"arn:aws:sagemaker:{region}:{account}:"
    if match := _INVOCATION_PATH.match(unquote(path)):
        return f"{prefix}endpoint/{match['name'].lower()}"
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return "*"
    operation = _operation(headers)
    for member in _ARN_MEMBERS:
        if isinstance(request.get(member), str):
            return str(request[member])
    if of_studio := studio_authorization.resource_arn(Caller(account, region, ""), operation, request):
        return of_studio
    # A list of one group's versions is of model packages, too; most other lists are of no resource.
    if operation in ("CreateModelPackage", "ListModelPackages") and request.get("ModelPackageGroupName"):
        return f"{prefix}model-package/{service.name_of(request['ModelPackageGroupName'])}/*"
    if isinstance(request.get("ModelPackageName"), str):
        name = request["ModelPackageName"]
        return str(name) if name.startswith("arn:") else f"{prefix}model-package/{name}"
    if operation.startswith("List"):
        return "*"
    for member, kind in _RESOURCE_NAMES:
        if isinstance(request.get(member), str):
            name = request[member]
            # ARNs of hosting are lower case, whatever the case of the name.
            name = name.lower() if kind in _LOWER_CASE else name
            return str(name) if name.startswith("arn:") else f"{prefix}{kind}/{name}"
    return "*"


def _scaling_conditions(body: bytes) -> dict[str, str]:
    """The condition keys of Application Auto Scaling that a request fills.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsapplicationautoscaling.html
    """
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return {}
    members = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
    return {f"{AUTOSCALING}:{key}": str(request[member]) for key, member in members.items() if member in request}


def _scaling_arn(headers: dict[str, str], body: bytes, region: str, account: str) -> str:
    """The scalable target that a request is about, for IAM: the service authorization reference knows no other resource."""
    operation = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return "*"
    if operation.startswith("Describe") or operation == "GetPredictiveScalingForecast":
        return "*"
    if isinstance(request, dict) and isinstance(request.get("ResourceARN"), str):
        return str(request["ResourceARN"])
    return f"arn:aws:{AUTOSCALING}:{region}:{account}:scalable-target/*"


class Snapshot:
    """Writes the state of every MiniStack service that changed since the last time, each file replaced atomically."""

    def __init__(self) -> None:
        self._written: dict[str, int] = {}

    def write(self) -> None:
        """Write what changed."""
        from ministack import app

        for name, get_state in app._build_persistence_save_dict().items():
            state = get_state()
            if state is None:
                continue
            digest = hash(json.dumps(state, default=persistence._json_default))
            if self._written.get(name) != digest and _saved(name, state):
                self._written[name] = digest


def _saved(name: str, state: dict[str, Any]) -> bool:
    """Write the state of a service; whether it is on the disk now. What is not is written with the next change."""
    path = Path(persistence.STATE_DIR) / f"{name}.json"

    def identity() -> tuple[int, int] | None:
        return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None

    # MiniStack logs what goes wrong, a full disk for example, and tells its caller nothing.
    before = identity()
    persistence.save_state(name, state)
    return identity() != before


def settle_interrupted_stacks() -> list[str]:
    """Give stacks that a killed cloud left in the middle of an operation a state that can be deployed to again.

    CloudFormation itself never stops half way. Here a first deployment that was cut off becomes ROLLBACK_FAILED (the CDK
    CLI deletes such a stack and starts afresh), an update UPDATE_ROLLBACK_COMPLETE with the earlier template, so that the
    next deployment brings every resource to what it should be, and a deletion DELETE_FAILED.

    Returns:
        The names of those stacks.
    """
    settled = []
    for (account, region, name), stack in list(cloudformation_service._stacks._data.items()):
        status = stack.get("StackStatus", "")
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            continue
        if status.startswith("DELETE"):
            stack["StackStatus"] = "DELETE_FAILED"
        elif status.startswith(("CREATE", "ROLLBACK")):
            stack["StackStatus"] = "ROLLBACK_FAILED"
        else:
            stack["StackStatus"] = "UPDATE_ROLLBACK_COMPLETE"
            stack["_template_body"] = json.dumps(stack.get("_template", {}))
        reason = f"The local cloud was stopped during {status}."
        stack["StackStatusReason"] = reason
        in_scope(
            account,
            region,
            partial(
                stacks._add_event,
                stack["StackId"],
                name,
                name,
                "AWS::CloudFormation::Stack",
                stack["StackStatus"],
                reason,
                stack["StackId"],
            ),
        )
        settled.append(f"{name} ({status} -> {stack['StackStatus']})")
    return settled
