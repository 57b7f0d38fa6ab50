"""Step caching: which earlier run of a step has the result that a new one would have."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from local_cloud.sagemaker.pipelines.pipeline_definition import Step
from local_cloud.sagemaker.pipelines.pipeline_execution import KIND, Execution
from local_cloud.sagemaker.store import Document


def cache_key(step: Step, request: Mapping[str, Any]) -> str:
    """What is equal for two runs of a step of which the second may reuse the first's result."""
    deciding = {member: request.get(member) for member in step.type.cache_key}
    text = json.dumps([step.type.name, deciding], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def earlier_result(execution: Execution, step: Step, key: str) -> tuple[str, Document] | None:
    """The latest run of the step with that key that succeeded and is young enough: its execution's ARN and its state."""
    pipeline_arn = execution.document()["PipelineArn"]
    oldest = time.time() - (step.reuse_s or 0)
    found: list[tuple[float, str, Document]] = []
    for document in execution.service.store.list(KIND, execution.account, execution.region):
        state = document["Steps"].get(step.name, {})
        # A result that was itself reused is found where it was made, so that its age counts from there.
        if (
            document["PipelineArn"] == pipeline_arn
            and document["PipelineExecutionArn"] != execution.arn
            and state.get("Status") == "Succeeded"
            and state.get("CacheKey") == key
            and "CacheHitResult" not in state
            and state["EndTime"] >= oldest
        ):
            found.append((state["EndTime"], document["PipelineExecutionArn"], state))
    if not found:
        return None
    _, arn, state = max(found, key=lambda item: item[0])
    return arn, state
