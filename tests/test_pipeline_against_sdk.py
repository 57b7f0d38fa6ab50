"""The same pipeline, built by our builders and by the SageMaker SDK 3, must be the same definition.

The SDK lives in an environment of its own (.venv-sdk), so a script builds the pipeline there and prints it.
"""

import json
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from tests.housing_pipeline import BUCKET, IMAGE, KEY, ROLE, HousingPipeline
from tests.local_cloud_fixtures import LocalCloud

pytestmark = pytest.mark.sdk

Json = dict[str, Any]
ROOT = Path(__file__).parent.parent
SDK_PYTHON = ROOT / ".venv-sdk" / "bin" / "python"


@pytest.fixture(scope="module")
def of_the_sdk() -> Json:
    assert SDK_PYTHON.exists(), (
        f"{SDK_PYTHON} is missing: run `make test-sdk`, which installs requirements-sdk.txt there"
    )
    shared = json.dumps({"bucket": BUCKET, "image": IMAGE, "role": ROLE, "key": KEY})
    program = [str(SDK_PYTHON), str(ROOT / "tests" / "sdk" / "build_with_sdk.py"), shared]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=180, env={"PATH": "/usr/bin:/bin"}, check=False
    )
    assert done.returncode == 0, done.stderr
    return cast(Json, json.loads(done.stdout))


@pytest.fixture(scope="module")
def ours() -> Json:
    return cast(Json, json.loads(HousingPipeline().definition().to_json()))


def test_the_local_cloud_takes_what_the_sdk_builds_from_the_sdk(
    of_the_sdk: Json, cloud: LocalCloud, tmp_path: Path
) -> None:
    definition = tmp_path / "definition.json"
    definition.write_text(json.dumps(of_the_sdk))
    role = cloud.role("of-the-sdk", {"Action": "s3:GetObject", "Resource": "*"})
    program = [
        str(SDK_PYTHON),
        str(ROOT / "tests" / "sdk" / "use_local_cloud.py"),
        role,
        str(definition),
    ]
    environment = {"PATH": "/usr/bin:/bin", **cloud.environment()}
    done = subprocess.run(program, capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"status": "Active", "pipelines": ["of-the-sdk"], "groups": ["of-the-sdk"]}


def steps(definition: Json) -> dict[str, Json]:
    top = definition["Steps"]
    branches = top[-1]["Arguments"]
    return {step["Name"]: step for step in [*top, *branches["IfSteps"], *branches["ElseSteps"]]}


def normalised(of_the_sdk: Json) -> Json:
    """Takes away what the SDK adds and nobody asked for. Each is asserted whole, so that none hides a difference."""
    definition = cast(Json, json.loads(json.dumps(of_the_sdk)))
    # Members of the frame that are null; we leave absent what is not set.
    assert definition.pop("MlflowConfig") is None
    assert definition.pop("PipelineExperimentConfig") is None
    register = steps(definition)["Register"]["Arguments"]
    # ModelBuilder sets these for scripts in AWS's own containers; ours brings its own server and reads none of them.
    assert register["InferenceSpecification"]["Containers"][0].pop("Environment") == {
        "SAGEMAKER_PROGRAM": "",
        "SAGEMAKER_SUBMIT_DIRECTORY": "",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
        "SAGEMAKER_REGION": "us-east-1",
    }
    # Empty structures for metrics that were not given.
    assert register["ModelMetrics"].pop("Bias") == {}
    assert register["ModelMetrics"].pop("Explainability") == {}
    # The API's own default, written out.
    assert register.pop("SkipModelValidation") == "None"
    return definition


def test_both_have_the_same_frame_and_parameters(ours: Json, of_the_sdk: Json) -> None:
    theirs = normalised(of_the_sdk)
    assert ours.keys() == theirs.keys()
    for member in ("Version", "Metadata", "Parameters"):
        assert ours[member] == theirs[member]


@pytest.mark.parametrize("name", ["Preprocess", "Train", "Evaluate", "CheckQuality", "Register", "QualityMissed"])
def test_both_build_the_same_step(ours: Json, of_the_sdk: Json, name: str) -> None:
    assert steps(ours)[name] == steps(normalised(of_the_sdk))[name]


def test_both_build_the_same_definition_to_the_type_of_each_number(ours: Json, of_the_sdk: Json) -> None:
    assert json.dumps(ours, sort_keys=True) == json.dumps(normalised(of_the_sdk), sort_keys=True)
