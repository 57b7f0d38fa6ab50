"""Measures the project's own commands: set-up, demo, synth, and what the local cloud adds to a job and a request."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from sagestack.cli.laptop import Laptop
from sagestack.settings import load_model

from tests.bench.figures import Row, run, stated, timed
from tests.local_cloud_fixtures import ROOT, LocalCloud

HOUSING = ROOT / "model_code/housing"
ENVIRONMENTS = ("local", "dev", "staging", "prod")
RUNS = 5
JOB_STEPS = ("preprocess", "train", "evaluate")


@contextmanager
def deployed() -> Iterator[tuple[LocalCloud, str]]:
    """A local cloud with the training stack of housing deployed and its data in place, and the pipeline's name."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = LocalCloud(Path(folder) / "cloud")
        cloud.start()
        try:
            environment = cloud.environment()
            run("cdk", "bootstrap", f"aws://{cloud.account}/{cloud.region}", "-c", "env=local", environment=environment)
            stacks = ("sagestack-local-foundation", "sagestack-local-housing-training")
            output = str(Path(folder) / "cdk.out")
            command = ("cdk", "deploy", *stacks, "-c", "env=local", "--require-approval", "never", "--output", output)
            run(*command, environment=environment)
            parameter = cloud.client("ssm").get_parameter
            bucket = parameter(Name="/sagestack/local/data-bucket")["Parameter"]["Value"]
            data = str(HOUSING / "data/housing.csv")
            cloud.client("s3").upload_file(data, bucket, "housing/input/housing.csv")
            yield cloud, parameter(Name="/sagestack/local/housing/pipeline-name")["Parameter"]["Value"]
        finally:
            cloud.stop()


def execute(cloud: LocalCloud, pipeline: str) -> str:
    """Run the pipeline to its end, and return the ARN of the execution."""
    sagemaker = cloud.client("sagemaker")
    arn = str(sagemaker.start_pipeline_execution(PipelineName=pipeline)["PipelineExecutionArn"])
    while True:
        described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if described["PipelineExecutionStatus"] == "Succeeded":
            return arn
        if described["PipelineExecutionStatus"] != "Executing":
            sys.exit(f"the pipeline ended {described['PipelineExecutionStatus']}: {described.get('FailureReason')}")
        time.sleep(0.02)


def by_hand(python: str) -> None:
    """Run the same scripts with no cloud, in the image's environment: what `sagestack laptop` does."""
    model = load_model("housing")
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        Laptop(model, Path(folder), python).run(model.data_file, quiet=True)


def steps() -> Iterator[Row]:
    """What the local cloud adds to a pipeline's scripts."""
    with deployed() as (cloud, pipeline):
        execute(cloud, pipeline)
        python = str(next((cloud.state_dir / "images").glob("environment-*/bin/python")))
        by_hand(python)
        hands, pipelines = [], []
        for _ in range(RUNS):
            hands.append(timed(lambda: by_hand(python)))
            pipelines.append(timed(lambda: execute(cloud, pipeline)))
    added = [(ours - hand) / len(JOB_STEPS) for ours, hand in zip(pipelines, hands, strict=True)]
    yield "the three scripts by hand", stated(hands), ""
    yield "the pipeline with them (and the gate, and the registration)", stated(pipelines), ""
    yield "added per job step", stated(added), "at most 1 s"


def synths() -> Iterator[Row]:
    """How long a synth takes, the CLI's start included."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ENVIRONMENTS:
            command = ("cdk", "synth", "--quiet", "-c", f"env={name}", "--output", f"{folder}/{name}")
            times = [timed(lambda command=command: run(*command)) for _ in range(3)]  # type: ignore[misc]
            yield f"cdk synth -c env={name}", stated(times), ""


def setup() -> Iterator[Row]:
    """What a second `make` does when nothing changed."""
    run("make", "setup")
    yield (
        "make setup, nothing changed",
        stated([timed(lambda: run("make", "setup")) for _ in range(RUNS)], "ms", 1000),
        "under 1 s",
    )


def demo() -> Iterator[Row]:
    """`make demo` in a fresh clone: cold with empty download caches, then again."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "sagestack"
        run("git", "clone", "--quiet", str(ROOT), str(clone))
        environment = {
            # Empty caches of one's own: what a machine that never saw the project has.
            "UV_CACHE_DIR": f"{folder}/uv",
            "PIP_CACHE_DIR": f"{folder}/pip",
            "npm_config_cache": f"{folder}/npm",
            "XDG_CACHE_HOME": f"{folder}/cache",
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": f"{folder}/jsii",
            "PORT": "24690",
            "PATH": os.pathsep.join(
                part for part in os.environ["PATH"].split(os.pathsep) if not part.startswith(str(ROOT))
            ),
        }
        try:
            cold = timed(lambda: run("make", "demo", cwd=clone, environment=environment))
            again = [timed(lambda: run("make", "demo", cwd=clone, environment=environment)) for _ in range(3)]
        finally:
            run("make", "down", cwd=clone, environment=environment)
    yield "make demo, cold, downloads included", stated([cold]), "at most 8 min"
    yield "make demo, again", stated(again), "at most 90 s"


def invocations() -> Iterator[Row]:
    """What the local cloud adds to a request to a container."""
    from tests.hosted_images import Hosting

    with tempfile.TemporaryDirectory() as folder:
        cloud = LocalCloud(Path(folder) / "cloud")
        cloud.start()
        try:
            hosting = Hosting(cloud)
            endpoint = hosting.endpoint("bench")
            body = b"raw:" + b"0.1," * 12
            ask: Callable[[], Any] = lambda: hosting.runtime.invoke_endpoint(EndpointName=endpoint, Body=body)  # noqa: E731
            for _ in range(20):
                ask()
            times = [timed(lambda: ask()["Body"].read()) for _ in range(300)]
        finally:
            cloud.stop()
    yield "InvokeEndpoint by boto3, one row, echo server", stated(times, "ms", 1000), ""
