"""Runs in .venv-sdk: the SageMaker SDK 3 as its documentation uses it, against a local cloud named by the environment.

    python use_local_cloud.py ROLE_ARN DEFINITION_FILE

Prints what it saw as JSON.
"""

import json
import sys
from pathlib import Path

from sagemaker.core.resources import ModelPackageGroup, Pipeline


def main(role_arn: str, definition: str) -> None:
    group = ModelPackageGroup.create(
        model_package_group_name="of-the-sdk", model_package_group_description="by the SDK"
    )
    group.wait_for_status("Completed", poll=1, timeout=30)
    Pipeline.create(
        pipeline_name="of-the-sdk",
        client_request_token="x" * 32,
        role_arn=role_arn,
        pipeline_definition=definition,
    )
    pipeline = Pipeline.get("of-the-sdk")
    names = [found.pipeline_name for found in Pipeline.get_all(pipeline_name_prefix="of-the")]
    pipeline.delete(client_request_token="y" * 32)
    groups = [found.model_package_group_name for found in ModelPackageGroup.get_all(name_contains="of-the-sdk")]
    group.delete()
    print(json.dumps({"status": pipeline.pipeline_status, "pipelines": names, "groups": groups}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).read_text())
