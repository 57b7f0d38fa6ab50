"""Every name of MiniStack that the local cloud uses is still there, and takes what we give it."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from tests.local_cloud_fixtures import LocalCloud

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-local-cloud/bin/python"
SEAMS = [
    ROOT / "local_cloud" / f"ministack_{name}.py"
    for name in (
        "seams",
        "budgets",
        "cloudwatch",
        "deployments",
        "drift",
        "identity_providers",
        "network",
        "network_in_use",
        "policy_variables",
        "roles",
        "schedules",
        "scope",
        "tag_conditions",
    )
]

SIGNATURES = {
    "core.iam_actions.access_denied_response": [
        "service",
        "action",
        "principal_arn",
        "request_id",
        "error_code",
        "message",
        "headers",
        "resource_arn",
        "explicit_deny",
        "resource_policy_arn",
    ],
    "core.iam_actions.request_tag_context": ["service", "iam_action", "body", "params"],
    "core.iam_actions.extract_resource_arn": [
        "service",
        "method",
        "path",
        "headers",
        "body",
        "query_params",
        "region",
        "account_id",
    ],
    "core.iam_actions._query_param": ["query_params", "key"],
    "core.iam_evaluator._conditions_met": ["conditions", "ctx"],
    "core.iam_evaluator._first_match": ["ctx", "stmts", "effect"],
    "core.iam_evaluator._fnmatch_compile": ["pattern", "ignore_case"],
    "core.iam_evaluator._resolve_condition_key": ["key", "ctx"],
    "core.iam_evaluator.evaluate": ["ctx", "policies", "limits"],
    "core.iam_evaluator._gather_role_policies": ["role_name", "account_id"],
    "core.iam_evaluator._permissions_boundary": ["store", "name", "account_id"],
    "core.iam_evaluator._resolve_managed_policy_document": ["policy_arn", "account_id"],
    "core.iam_evaluator.resolve_principal": ["access_key_id", "account_id", "credential"],
    "core.persistence.save_state": ["service", "data"],
    "core.responses.set_request_account_id": ["access_key_id"],
    "core.responses.set_request_region": ["region"],
    "core.router.extract_access_key_id": ["headers", "query_params"],
    "services.budgets._create_budget": ["data"],
    "services.budgets._delete_budget": ["data"],
    "services.budgets._update_budget": ["data"],
    "services.cloudformation.provisioners._physical_name": [
        "stack_name",
        "logical_id",
        "lowercase",
        "max_len",
        "seeded",
    ],
    "services.cloudformation.provisioners._provision_resource": ["resource_type", "logical_id", "props", "stack_name"],
    "services.cloudformation.stacks._runs_on_worker_thread": ["resource_type"],
    "services.cloudformation.stacks._add_event": [
        "stack_id",
        "stack_name",
        "logical_id",
        "resource_type",
        "status",
        "reason",
        "physical_id",
        "detailed_status",
    ],
    "services.cloudformation.handlers._p": ["params", "key", "default"],
    "services.cloudformation.provisioners._cw_metric_alarm_record": ["name", "props"],
    "services.cloudwatch._dims_key": ["dims"],
    "services.cloudwatch._dispatch_alarm_actions": ["alarm", "old_state", "new_state", "reason"],
    "services.cloudwatch._error": ["code", "message", "status", "use_json", "use_cbor"],
    "services.cloudwatch._evaluate_alarm": ["alarm"],
    "services.cloudwatch._evaluate_all_alarms": [],
    "services.cloudwatch._evict_old_metrics": [],
    "services.cloudwatch._history_entries": [],
    "services.cloudwatch._metric_bucket": ["key"],
    "services.cloudwatch._p": ["params", "key", "default"],
    "services.cloudwatch._point_stats": ["pt"],
    "services.cloudwatch._put_metric_alarm": ["params", "cbor_data", "is_cbor", "is_json"],
    "services.cloudwatch._put_metric_data": ["params", "cbor_data", "is_cbor", "is_json"],
    "services.cloudwatch._record_history": [
        "alarm_name",
        "old_state",
        "new_state",
        "reason",
        "alarm_type",
        "reason_data",
    ],
    "services.cloudwatch._set_alarm_state": ["params", "cbor_data", "is_cbor", "is_json"],
    "services.cloudwatch._store_datum": [
        "namespace",
        "name",
        "dims",
        "ts",
        "unit",
        "value",
        "values",
        "counts",
        "stat_values",
    ],
    "services.cloudwatch._ts_iso": ["epoch"],
    "services.cloudwatch.get_state": [],
    "services.cloudwatch_logs._append_log_events": ["stream", "events"],
    "services.cloudwatch.record_metric": ["namespace", "metric_name", "value", "unit", "dimensions"],
    "services.eventbridge._put_events": ["data", "allow_aws_source"],
    "services.cloudformation.provisioners._ec2_sg_permissions": ["rules"],
    "services.ec2._create_flow_logs": ["params"],
    "services.ec2._error": ["code", "message", "status"],
    "services.ec2._p": ["params", "key", "default"],
    "services.ec2._rules_match": ["a", "b"],
    "services.ec2._sg_rule_id": ["sg_id", "is_egress", "rule"],
    "services.eventbridge._invoke_target": ["target", "event", "rule", "view"],
    "services.iam._create_oidc_provider": ["p"],
    "services.scheduler._create_schedule": ["name", "body"],
    "services.scheduler._delete_schedule": ["name", "query"],
    "services.scheduler._tick_schedules": [],
    "services.scheduler._update_schedule": ["name", "body"],
    "services.sns._fanout": [
        "topic_arn",
        "msg_id",
        "message",
        "subject",
        "message_structure",
        "message_attributes",
        "message_group_id",
        "message_dedup_id",
    ],
    "services.sts.register_session": ["access_key", "session"],
    "app._build_persistence_save_dict": [],
}
"""What is called, with its parameters."""

TABLES = (
    "app.SERVICE_HANDLERS",
    "core.router.SERVICE_PATTERNS",
    "core.iam_actions.SERVICE_TO_IAM_NAMESPACE",
    "core.iam_actions._BOTOCORE_SERVICE_MAP",
    "services.cloudformation.provisioners._RESOURCE_HANDLERS",
    "services.cloudformation.provisioners._REPLACING_PROPERTIES",
    "services.cloudformation.provisioners._STACK_TAG_PROPERTY",
    "services.cloudformation._stacks",
    "services.cloudformation.handlers._ACTION_HANDLERS",
    "services.cloudformation.drift._DRIFT_READERS",
    "services.cloudwatch._alarms._data",
    "services.cloudwatch._composite_alarms._data",
    "services.cloudwatch._metrics._data",
    "services.cloudwatch_logs._log_records",
    "services.ec2._ACTION_MAP",
    "services.ec2._flow_logs",
    "services.ec2._network_interfaces",
    "services.ec2._security_groups",
    "services.efs._mount_targets",
    "services.iam._oidc_providers",
    "services.budgets._budgets",
    "services.iam._roles",
    "services.s3._bucket_policies",
    "services.scheduler._schedules._data",
    "services.sts._sessions",
)
"""What is added to, all of them mappings."""


def _split(name: str) -> tuple[str, str]:
    """The module of a table and what it is called there; the dictionary within a scoped one is an attribute of it."""
    scoped = name.removesuffix("._data")
    module, _, table = scoped.rpartition(".")
    return module, table + name[len(scoped) :]


def in_ministack(program: str) -> str:
    """What a program prints in the local cloud's environment."""
    result = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_version_is_the_one_that_was_read() -> None:
    pinned = next(
        line
        for line in (ROOT / "local_cloud/requirements.txt").read_text().splitlines()
        if line.startswith("ministack==")
    )
    installed = in_ministack("import importlib.metadata as m; print(m.version('ministack'))")
    assert pinned.split()[0] == f"ministack=={installed}"


@pytest.fixture(scope="module")
def signatures() -> dict[str, list[str]]:
    """The parameters of everything that is called, or why there are none: one process for all, as importing takes a second."""
    program = f"""
import importlib, inspect, json
found = {{}}
for name in {list(SIGNATURES)!r}:
    module, _, function = name.rpartition(".")
    try:
        called = getattr(importlib.import_module("ministack." + module), function)
        found[name] = list(inspect.signature(called).parameters)
    except (ImportError, AttributeError) as error:
        found[name] = [str(error)]
print(json.dumps(found))
"""
    return dict(json.loads(in_ministack(program)))


@pytest.mark.parametrize("name", SIGNATURES)
def test_what_is_called_takes_what_we_give(name: str, signatures: dict[str, list[str]]) -> None:
    assert signatures[name] == SIGNATURES[name]


def test_what_is_added_to_is_a_mapping() -> None:
    program = "import importlib\n" + "\n".join(
        f"assert hasattr(importlib.import_module('ministack.{module}').{table}, '__setitem__'), '{module}.{table}'"
        for module, table in (_split(name) for name in TABLES)
    )
    in_ministack(program)


def test_what_is_saved_of_cloudwatch_is_what_ministack_saves_of_it() -> None:
    program = """
from ministack.services import cloudwatch
theirs = set(cloudwatch.get_state())
from local_cloud import ministack_cloudwatch
print(theirs == {"metrics", *ministack_cloudwatch.SAVED})
"""
    assert in_ministack(program) == "True"


def test_ministack_still_has_no_sagemaker_of_its_own() -> None:
    assert in_ministack("from ministack.app import SERVICE_HANDLERS as h; print('sagemaker' in h)") == "False"


def test_ministack_still_has_no_application_auto_scaling_of_its_own() -> None:
    program = (
        "from ministack.app import SERVICE_HANDLERS as h; from ministack.services.cloudformation.provisioners import "
        "_RESOURCE_HANDLERS as r; print('application-autoscaling' in h, [k for k in r if 'ApplicationAutoScaling' in k])"
    )
    assert in_ministack(program) == "False []"


def test_what_could_not_be_written_is_written_as_soon_as_it_can_be(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, shutil
state = pathlib.Path({str(tmp_path / "state")!r})
os.environ.update(PERSIST_STATE="1", STATE_DIR=str(state))
from local_cloud import ministack_seams
from ministack import app
shutil.rmtree(state, ignore_errors=True)
app._build_persistence_save_dict = lambda: {{"one": lambda: {{"a": 1}}}}
state.write_text("in the way, as a full disk would be")
snapshot = ministack_seams.Snapshot()
snapshot.write()
state.unlink()
snapshot.write()
written = state / "one.json"
first = written.stat().st_ino, written.stat().st_mtime_ns
snapshot.write()
print(first == (written.stat().st_ino, written.stat().st_mtime_ns))
"""
    assert in_ministack(program).splitlines()[-1] == "True"


@pytest.mark.long
def test_of_a_log_without_end_the_end_is_kept(cloud: LocalCloud) -> None:
    logs = cloud.client("logs")
    names = {"logGroupName": "/chatty", "logStreamName": "one"}
    logs.create_log_group(logGroupName=names["logGroupName"])
    logs.create_log_stream(**names)
    for batch in range(5):
        events = [{"timestamp": 1_000_000 + batch, "message": f"line {batch * 9000 + n}"} for n in range(9000)]
        logs.put_log_events(**names, logEvents=events)
    head = logs.get_log_events(**names, startFromHead=True, limit=2)["events"]
    tail = logs.get_log_events(**names, limit=1)["events"]
    assert tail[0]["message"] == "line 44999"
    dropped = int(head[1]["message"].removeprefix("line "))
    assert 20_000 < dropped < 45_000 - 10_000
    assert head[0]["message"] == f"[local cloud] {dropped} earlier lines were dropped: it keeps the end of a long log"


def test_no_other_module_knows_ministack() -> None:
    for path in (ROOT / "local_cloud").rglob("*.py"):
        if path in (*SEAMS, ROOT / "local_cloud/server.py"):
            continue
        imported = [
            alias.name if isinstance(node, ast.Import) else (node.module or "")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        assert not [name for name in imported if name.split(".")[0] == "ministack"], path
