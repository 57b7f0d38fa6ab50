"""A small image that predicts from CSV and JSON as its model says, and the calls that transform with it in a local cloud."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.hosted_images import DOCKERFILE, archive_of, fits
from tests.job_programs import ENDED, Jobs
from tests.local_cloud_fixtures import LocalCloud

SERVER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

model = json.loads((Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model/model.json").read_text())
told = {name: value for name, value in os.environ.items() if name.startswith("SAGEMAKER_") and "BIND" not in name}
if model.get("crash"):
    raise SystemExit(1)
print("told", json.dumps({**told, "MINE": os.environ.get("MINE"), "KEY": os.environ.get("AWS_ACCESS_KEY_ID", "")[:4]}))


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/execution-parameters" and "asks" in model:
            return self.answer(200, json.dumps(model["asks"]))
        self.answer(200 if self.path == "/ping" else 404, "")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = [self.headers["Content-Type"], self.headers["Accept"], len(body)]
        # At once: print writes the end of the line by itself, and there are other threads.
        sys.stdout.write("asked " + json.dumps(asked) + chr(10))
        time.sleep(model.get("sleep_s", 0))
        if "die" in body:
            os._exit(7)
        if "bad" in body:
            return self.answer(model.get("refuses", 400), "could not convert string to float: 'bad'")
        rows = [[float(cell) for cell in line.split(",")] for line in body.splitlines()]
        self.answer(200, "\\n".join(str(sum(row)) for row in rows))

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "0.0.0.0")
ThreadingHTTPServer((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
"""


class Batches(Jobs):
    """What a test says to a local cloud's transform jobs."""

    def __init__(self, cloud: LocalCloud) -> None:
        super().__init__(cloud, "batches")
        self.serving_image = self.build_context("serving.zip", DOCKERFILE, {"server.py": SERVER})

    def serving(self, name: str = "", role: str = "", *, isolated: bool = False, **behaviour: Any) -> str:
        """A model whose server behaves so; its name."""
        name = name or self.name("model")
        archive = self.put(f"{name}/model.tar.gz", archive_of(name, **behaviour))
        self.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={"Image": self.serving_image, "ModelDataUrl": archive},
            ExecutionRoleArn=role or self.role,
            EnableNetworkIsolation=isolated,
        )
        return name

    def request(self, model: str, inputs: str, **changes: Any) -> dict[str, Any]:
        """A request that sends lines of CSV, as many as fit, and writes a line for each."""
        name = self.name("transform")
        source, target = changes.pop("TransformInput", {}), changes.pop("TransformOutput", {})
        return {
            "TransformJobName": name,
            "ModelName": model,
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": inputs}},
                "ContentType": "text/csv",
                "SplitType": "Line",
                **source,
            },
            "TransformOutput": {
                "S3OutputPath": f"s3://{self.bucket}/{name}",
                "Accept": "text/csv",
                "AssembleWith": "Line",
                **target,
            },
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            **changes,
        }

    def start(self, model: str, inputs: str, **changes: Any) -> str:
        """Start a transform job; its name."""
        request = self.request(model, inputs, **changes)
        self.sagemaker.create_transform_job(**request)
        return str(request["TransformJobName"])

    def transformed(self, name: str, timeout_s: float = 120) -> dict[str, Any]:
        """DescribeTransformJob once the job has ended."""
        deadline = time.monotonic() + timeout_s
        while True:
            job: dict[str, Any] = self.sagemaker.describe_transform_job(TransformJobName=name)
            fits("DescribeTransformJob", job)
            if job["TransformJobStatus"] in ENDED:
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.02)

    def outputs(self, name: str) -> dict[str, str]:
        """What a job wrote, by name."""
        return {key: self.get(f"s3://{self.bucket}/{name}/{key}").decode() for key in self.keys(f"{name}/")}

    def logged(self, name: str, *, data: bool = False) -> list[str]:
        """The lines of its containers, or of its data logs."""
        logs = self.cloud.client("logs")
        group = "/aws/sagemaker/TransformJobs"
        try:
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        except logs.exceptions.ResourceNotFoundException:  # before the first line of the first job
            return []
        lines: list[str] = []
        for stream in streams:
            if stream["logStreamName"].endswith("/data-log") == data:
                events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
                lines += [event["message"] for event in events]
        return lines

    def told(self, name: str) -> dict[str, Any]:
        """The variables that its container found."""
        line = next(line for line in self.logged(name) if line.startswith("told "))
        return dict(json.loads(line.removeprefix("told ")))
