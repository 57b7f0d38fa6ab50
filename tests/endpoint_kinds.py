"""A project with a model for each kind of endpoint, written as people write it: model.yaml and the environment's file."""

import shutil
from pathlib import Path

from tests.synthesis import copy_project

ENDPOINTS = {
    "plain": "{kind: real-time, instance_type: ml.m5.large, initial_instance_count: 2}",
    "compared": """
      kind: real-time
      instance_type: ml.m5.large
      initial_instance_count: 2
      weight: 90
      variants:
        challenger: {served_version: 4, weight: 10, instance_type: ml.m5.xlarge, initial_instance_count: 1}""",
    "shadowed": """
      kind: real-time
      instance_type: ml.m5.large
      initial_instance_count: 2
      shadow: {served_version: 4, sampling_percent: 25, instance_type: ml.m5.large, initial_instance_count: 1}""",
    "scaled": """
      kind: real-time
      instance_type: ml.m5.large
      initial_instance_count: 2
      autoscaling:
        min_capacity: 2
        max_capacity: 6
        invocations_per_instance: 600
        schedule: [{at: cron(0 7 ? * MON-FRI *), time_zone: Europe/Berlin, min_capacity: 4, max_capacity: 6}]
      front_door: {authorization: iam}""",
    "serverless": "{kind: serverless, memory_in_mb: 2048, max_concurrency: 20}",
    "warm": """
      kind: serverless
      memory_in_mb: 2048
      max_concurrency: 20
      provisioned_concurrency: 2
      autoscaling: {min_capacity: 1, max_capacity: 10, provisioned_concurrency_utilization: 0.7}
      front_door: {authorization: {issuer: "https://login.example.com", audience: [predictions]}}""",
    "asynchronous": """
      kind: asynchronous
      instance_type: ml.m5.large
      initial_instance_count: 1
      answer_retention_days: 14
      autoscaling: {min_capacity: 0, max_capacity: 4, backlog_per_instance: 5}""",
    "many": "{kind: real-time, instance_type: ml.m5.large, initial_instance_count: 2, serves_archives: true}",
    "chained": "{kind: real-time, instance_type: ml.m5.large, initial_instance_count: 2}",
    "named": "{kind: real-time, instance_type: ml.m5.large, initial_instance_count: 2}",
    "shared": """
      kind: inference-components
      instance_type: ml.m5.xlarge
      initial_instance_count: 1
      max_instance_count: 3
      copies: 2
      cpus_per_copy: 1
      memory_per_copy_in_mb: 1024
      autoscaling: {min_capacity: 2, max_capacity: 6, invocations_per_instance: 600}""",
}
"""What a person types below `endpoint`, by the name of the model."""

SERVING = {
    "many": "  layout: multi-model\n",
    "chained": "  layout: serial\n  beside: [plain]\n",
    "named": "  layout: direct\n  beside: [plain, scaled]\n",
}
"""What a person types below `serving` besides."""

PIPELINE = """
    pipeline:
      processing_instance_type: ml.m5.large
      training_instance_type: ml.m5.large
      volume_size_in_gb: 10
      max_runtime_in_seconds: 3600
      training_instance_count: 1
      spot: null
"""


def project_of_all_kinds(target: Path) -> Path:
    """Writes the project; every model but the one of archives is served in version 3, and some in others besides."""
    root = copy_project(target)
    sample = root / "model_code" / "housing"
    for name in ENDPOINTS:
        folder = root / "model_code" / name
        shutil.copytree(sample, folder)
        with (folder / "model.yaml").open("a", encoding="utf-8") as model:
            model.write(SERVING.get(name, ""))
    shutil.rmtree(sample)
    for file in (root / "environments").glob("*.yaml"):
        head = file.read_text().split("models:\n")[0]
        file.write_text(head + "models:\n" + "".join(entry(name) for name in ENDPOINTS))
    return root


def entry(name: str, endpoint: str | None = None, version: str = "3") -> str:
    """The entry of a model in an environment's file."""
    version = "null" if name == "many" else version
    return f"  {name}:\n    served_version: {version}\n    endpoint: {endpoint or ENDPOINTS[name]}{PIPELINE}"
