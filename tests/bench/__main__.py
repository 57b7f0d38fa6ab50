"""Measures what docs/benchmarks.md states and prints it as a table, each row with the command that reproduces it.

Everything is measured the way people run it: the real local cloud as a process, the real CDK CLI, make. The machine that
this runs on may be busy, so each figure is a median with its range, and what is compared is run in turn.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.local_cloud_fixtures import ROOT, LocalCloud

HOUSING = ROOT / "model_code/housing"
ENVIRONMENTS = ("local", "dev", "staging", "prod")
RUNS = 5
JOB_STEPS = ("preprocess", "train", "evaluate")

Row = tuple[str, str, str]
"""What, its figure, its bound."""


def stated(seconds: Sequence[float], unit: str = "s", scale: float = 1.0) -> str:
    """A median with its range."""
    values = [value * scale for value in seconds]
    return f"{statistics.median(values):.2f} {unit} ({min(values):.2f} to {max(values):.2f}, {len(values)} runs)"


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(*command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> None:
    """Run a command; its output is shown only if it fails."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout[-4000:]}")


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
    """Run the same scripts as a person would: the model folder's own program for laptops, in the image's environment."""
    with tempfile.TemporaryDirectory() as folder:
        run(python, "-m", "housing.on_laptop", folder, cwd=HOUSING)


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


BENCHMARKS: dict[str, Callable[[], Iterator[Row]]] = {
    "setup": setup,
    "steps": steps,
    "invocations": invocations,
    "synth": synths,
    "demo": demo,
}


def main() -> None:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="what to measure; everything by default")
    names = parser.parse_args().names or list(BENCHMARKS)
    table = Table("what", "measured", "bound", "command", title=f"{platform.platform()}, {os.cpu_count()} cores")
    for name in names:
        for what, figure, bound in BENCHMARKS[name]():
            print(f"{name}: {what}: {figure} {bound}", flush=True)
            table.add_row(what, figure, bound, f"python -m tests.bench {name}")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
