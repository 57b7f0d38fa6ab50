"""The platform and its housing model in a local cloud, and the example notebooks run there with a notebook's rights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.example_stacks import ENDPOINT, HOUSING, NAMES, NOTEBOOK, ROLE_STACK, synthesize
from tests.hosted_images import BUCKET
from tests.housing_runs import DATA
from tests.local_cloud_fixtures import ROOT, LocalCloud
from tests.stack_deployer import StackDeployer
from tests.synthesis import copy_project

EXAMPLES = ROOT / "notebooks" / "examples"
NOTEBOOK_PYTHON = ROOT / ".venv-notebook" / "bin" / "python"
SDK_PYTHON = ROOT / ".venv-sdk" / "bin" / "python"
UNDER_WAY = ("Executing", "Stopping")
TIMEOUT_S = 200

# Runs in .venv-sdk, which has no kernel: the cells of a notebook, one after the other.
CELLS = """
import json, sys
source, result, folder = sys.argv[1:]
sys.path.insert(0, folder)
cells = {cell["id"]: cell for cell in json.load(open(source))["cells"] if cell["cell_type"] == "code"}
space = {"__name__": "__main__"}
for name, cell in cells.items():
    print("--- " + name, flush=True)
    exec(compile("".join(cell["source"]), name, "exec"), space)
"""

# Runs in .venv-notebook. What the cells printed and raised is in the notebook that it writes.
RUNNER = """
import sys
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

source, result, folder = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
nbformat.validate(notebook)
try:
    NotebookClient(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
except CellExecutionError:
    pass
nbformat.write(notebook, result)
"""


class Ran:
    """A notebook that was run, to its end or to the cell that failed."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._cells: dict[str, dict[str, Any]] = {cell["id"]: cell for cell in document["cells"]}

    @property
    def error(self) -> str | None:
        """What the cell that failed raised, or None."""
        for name, cell in self._cells.items():
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    return f"{name}: {output['ename']}: {output['evalue']}\n" + "\n".join(output["traceback"])[-2500:]
        return None

    @property
    def runs(self) -> list[str]:
        """The cells that began to run."""
        return [name for name, cell in self._cells.items() if cell.get("execution_count")]

    def said(self, cell: str) -> str:
        """All text that a cell showed."""
        texts = []
        for output in self._cells[cell]["outputs"]:
            data = output.get("data", {}).get("text/plain", "")
            texts += [output.get("text", ""), data]
        return "".join("".join(text) for text in texts)

    def pictures(self, cell: str) -> int:
        """How many a cell showed."""
        return sum("image/png" in output.get("data", {}) for output in self._cells[cell]["outputs"])


class ExamplePlatform:
    """Foundation, training and a notebook's role, deployed; serving, when somebody asks for it."""

    def __init__(self, cloud: LocalCloud, folder: Path, endpoint: dict[str, Any] = ENDPOINT) -> None:
        self.cloud, self._folder = cloud, folder
        self._s3, self.sagemaker = cloud.client("s3"), cloud.client("sagemaker")
        self._s3.create_bucket(Bucket=BUCKET)
        self._synthesize(copy_project(folder / "project"), endpoint)
        for stack in (NAMES.foundation_stack, HOUSING.training_stack, ROLE_STACK):
            self._deploy(stack)
        self._keys = self._credentials()

    def serve(self) -> None:
        """Deploys the endpoint of the first version, which must be approved."""
        self._deploy(HOUSING.serving_stack)

    def approve_first_version(self) -> None:
        """As a reviewer does."""
        self.sagemaker.update_model_package(
            ModelPackageArn=self._version(1), ModelApprovalStatus="Approved", ApprovalDescription="It scores well"
        )

    def parameter(self, name: str) -> str:
        """A parameter that the stacks published."""
        return str(self.cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def bring_data(self) -> None:
        """Uploads the sample, as `sagestack run` does."""
        self._s3.upload_file(
            str(DATA), self.parameter(NAMES.data_bucket_parameter), f"{HOUSING.input_prefix}{DATA.name}"
        )

    def start_pipeline(self) -> str:
        """Starts it as a developer."""
        return str(self.sagemaker.start_pipeline_execution(PipelineName=HOUSING.pipeline)["PipelineExecutionArn"])

    def wait_for(self, execution: str) -> None:
        """Waits for an execution, which must succeed."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            described = self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
            if described["PipelineExecutionStatus"] not in UNDER_WAY:
                break
            assert time.monotonic() < deadline, described
            time.sleep(0.2)
        assert described["PipelineExecutionStatus"] == "Succeeded", described

    def leave_a_model(self, name: str) -> None:
        """Makes a model under that name, of the first version."""
        role = self.parameter(NAMES.notebook_role_parameter(NOTEBOOK))
        self.sagemaker.create_model(
            ModelName=name, Containers=[{"ModelPackageName": self._version(1)}], ExecutionRoleArn=role
        )

    def served_by(self, prefix: str) -> list[str]:
        """The endpoints, their configurations and models whose names begin so."""
        found = {
            "Endpoint": self.sagemaker.list_endpoints()["Endpoints"],
            "EndpointConfig": self.sagemaker.list_endpoint_configs()["EndpointConfigs"],
            "Model": self.sagemaker.list_models()["Models"],
        }
        names = [str(each[f"{kind}Name"]) for kind, several in found.items() for each in several]
        return [name for name in names if name.startswith(prefix)]

    def last_written(self, name: str) -> str:
        """The newest file of that name in the bucket of artefacts."""
        bucket = self.parameter(NAMES.artifact_bucket_parameter)
        found = self._s3.list_objects_v2(Bucket=bucket, Prefix=NAMES.notebook_prefix(NOTEBOOK))["Contents"]
        newest = max(
            (each for each in found if each["Key"].endswith(f"/{name}")), key=lambda each: each["LastModified"]
        )
        return str(self._s3.get_object(Bucket=bucket, Key=newest["Key"])["Body"].read().decode())

    def run(self, notebook: str, **variables: str) -> Ran:
        """Runs a notebook in a kernel that has an instance's metadata and its role's keys, and nothing else of AWS."""
        result = self._folder / f"{notebook}.{time.monotonic_ns()}.ipynb"
        done = self._python(NOTEBOOK_PYTHON, RUNNER, str(EXAMPLES / f"{notebook}.ipynb"), str(result), variables)
        assert done.returncode == 0, done.stderr
        return Ran(json.loads(result.read_text()))

    def run_with_sdk(self, notebook: str, **variables: str) -> str:
        """Runs the cells of a notebook in .venv-sdk, which must all succeed; what they printed."""
        done = self._python(SDK_PYTHON, CELLS, str(EXAMPLES / f"{notebook}.ipynb"), "", variables)
        assert done.returncode == 0, done.stdout + done.stderr[-4000:]
        return done.stdout

    def _python(
        self, python: Path, program: str, source: str, result: str, variables: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory(dir=self._folder) as home:
            # As on an instance: the notebooks lie in a folder of their own, with the module beside them.
            shutil.copytree(EXAMPLES, Path(home) / "examples", ignore=shutil.ignore_patterns("__pycache__"))
            metadata = Path(home) / "resource-metadata.json"
            metadata.write_text(json.dumps({"ResourceName": NAMES.notebook_instance(NOTEBOOK)}))
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": home,
                "SAGESTACK_METADATA": str(metadata),
                # Shared: matplotlib looks through all fonts of the machine where it has no cache.
                "MPLCONFIGDIR": str(self._folder / "matplotlib"),
                **self._environment(),
                **variables,
            }
            return subprocess.run(
                [str(python), "-c", program, source, result, str(Path(home) / "examples")],
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )

    def _version(self, number: int) -> str:
        group = HOUSING.model_package_group
        return f"arn:aws:sagemaker:{self.cloud.region}:{self.cloud.account}:model-package/{group}/{number}"

    def _environment(self) -> dict[str, str]:
        """How an AWS client reaches the cloud, with the keys of the notebook's role."""
        return {**self.cloud.environment(), **self._keys}

    def _credentials(self) -> dict[str, str]:
        """Those of the role. SageMaker alone may take it; here, a developer may for a moment."""
        arn = self.parameter(NAMES.notebook_role_parameter(NOTEBOOK))
        iam, name = self.cloud.client("iam"), arn.rsplit("/", 1)[-1]
        own = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        also = {"Effect": "Allow", "Principal": {"AWS": self.cloud.account}, "Action": "sts:AssumeRole"}
        wider = {**own, "Statement": [*own["Statement"], also]}
        developer = self.cloud.environment()
        sts = self.cloud.client("sts", developer["AWS_ACCESS_KEY_ID"], developer["AWS_SECRET_ACCESS_KEY"])
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(wider))
        keys = sts.assume_role(RoleArn=arn, RoleSessionName="SageMaker")["Credentials"]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(own))
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
        }

    def _synthesize(self, project: Path, endpoint: dict[str, Any]) -> None:
        """Makes the templates, and publishes their assets."""
        synthesize(project, self._folder / "cdk.out", endpoint)
        for file in (self._folder / "cdk.out").glob("*.assets.json"):
            for asset in json.loads(file.read_text())["files"].values():
                source = self._folder / "cdk.out" / asset["source"]["path"]
                if asset["source"]["packaging"] == "zip":
                    source = Path(shutil.make_archive(str(self._folder / source.name), "zip", source))
                for place in asset["destinations"].values():
                    self._s3.upload_file(str(source), place["bucketName"], place["objectKey"])

    def _deploy(self, stack: str) -> None:
        template = json.loads((self._folder / "cdk.out" / f"{stack}.template.json").read_text())
        deployer = StackDeployer(self.cloud, stack)
        status = deployer.deploy(json.dumps(template, separators=(",", ":")))
        assert status == "CREATE_COMPLETE", (stack, status, deployer.failures())
