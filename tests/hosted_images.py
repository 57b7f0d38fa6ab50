"""A small image whose server does as its requests say, and the calls that bring it behind an endpoint of a local cloud."""

from __future__ import annotations

import io
import json
import tarfile
import time
import zipfile
from collections.abc import Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

from tests.local_cloud_fixtures import LocalCloud

BUCKET = "hosting"
DOCKERFILE = """\
FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm
WORKDIR /opt/program
COPY server.py .
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["python", "server.py"]
"""
SERVER = '''
import json, os, sys, tempfile, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
model = json.loads((base / "model/model.json").read_text())
print("loaded", model, "arguments", sys.argv[1:])
if model.get("crash"):
    sys.exit("the model is broken")


def wait_for_file(path, patience_s=120):
    """Whoever holds something up for a test lets it go by making a file."""
    deadline = time.monotonic() + patience_s
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.02)


time.sleep(model.get("start_s", 0))
if "start_when" in model:
    wait_for_file(model["start_when"])


def others_came(place, number, patience_s=60):
    """Whether so many requests are at the place at once: none of them leaves before all are there."""
    tempfile.mkstemp(dir=place)
    deadline = time.monotonic() + patience_s
    while len(os.listdir(place)) < number and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(os.listdir(place)) >= number


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(model.get("ping", 200), b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        do = json.loads(body) if body.startswith(b"{") else {}
        if "print" in do:
            print(do["print"])
        mine = model["name"] in do.get("only", [model["name"]])
        if "tell" in do and mine:
            tempfile.mkstemp(dir=do["tell"])
        time.sleep(do.get("sleep_s", 0))
        if "until" in do and mine:
            wait_for_file(do["until"])
        if "meet" in do and not others_came(*do["meet"]):
            return self.answer(500, b"nobody else came")
        if do.get("die"):
            os._exit(7)
        if "fail" in do:
            return self.answer(do["fail"], do.get("message", "").encode())
        if "size" in do:
            return self.answer(200, b"x" * do["size"])
        if body.startswith(b"raw:"):
            return self.answer(200, body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {
            "model": model["name"], "pid": os.getpid(), "headers": headers, "path": self.path,
            "environment": {name: os.environ.get(name) for name in do.get("environment", [])},
        }
        self.answer(200, json.dumps(told).encode(), "application/json")

    def answer(self, status, body, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if "X-Amzn-SageMaker-Custom-Attributes" in self.headers:
            self.send_header("X-Amzn-SageMaker-Custom-Attributes", "answered")
        self.end_headers()
        self.wfile.write(body)


host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "0.0.0.0")
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
'''
LABELS = """\
LABEL com.amazonaws.sagemaker.capabilities.multi-models=true \\
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
"""
MULTI_MODEL_SERVER = """
import json, os, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

capacity = int(os.environ.get("CAPACITY", "100"))
models, loads, lock = {}, {}, threading.Lock()
assert os.environ["SAGEMAKER_MULTI_MODEL"] == "true"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        name = self.path.removeprefix("/models").strip("/")
        if self.path == "/models":
            self.answer(200, {"models": [{"modelName": name} for name in models]})
        else:
            self.answer(200 if self.path == "/ping" or name in models else 404, {})

    def do_DELETE(self):
        print("DELETE", self.path, self.headers["X-Amzn-SageMaker-Target-Model"], flush=True)
        with lock:
            self.answer(200 if models.pop(self.path.removeprefix("/models/"), None) else 404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/models":
            return self.load(json.loads(body))
        name, verb = self.path.removeprefix("/models/").split("/")
        assert verb == "invoke"
        do = json.loads(body or b"{}")
        if do.get("die"):
            os._exit(7)
        if name not in models:
            return self.answer(404, {"error": "not loaded"})
        time.sleep(do.get("sleep_s", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {**models[name], "loads": loads[name], "headers": headers, "path": self.path, "loaded": len(models)}
        if do.get("forget"):
            models.clear()
        self.answer(do.get("fail", 200), {**told, "pid": os.getpid()})

    def load(self, asked):
        name, url = asked["model_name"], Path(asked["url"])
        assert url.parts[-3:] == ("models", name, "model"), url
        model = json.loads((url / "model.json").read_text())
        time.sleep(model.get("load_s", 0))
        with lock:
            if name in models:
                return self.answer(409, {})
            if model.get("refuse"):
                return self.answer(model["refuse"], {"error": "no such format"})
            if len(models) >= capacity:
                return self.answer(507, {"error": "full"})
            models[name] = model
            loads[name] = loads.get(name, 0) + 1
        print("loaded", model["name"], flush=True)
        self.answer(200, {})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "0.0.0.0")
ThreadingHTTPServer((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
"""
ONE_OF_SEVERAL_SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

model = json.loads((Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model/model.json").read_text())
print("serves", model["name"], flush=True)
if model.get("crash"):
    sys.exit("the model is broken")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(200, b"", "text/plain")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if body == "die " + model["name"]:
            os._exit(7)
        kinds = f"{self.headers['Content-Type']}>{self.headers['Accept']}"
        status = 418 if body == "fail " + model["name"] else 200
        name, port = model["name"], os.environ["SAGEMAKER_BIND_TO_PORT"]
        told = body if body.startswith(("die", "fail")) else f"{name}[{kinds}]({body})"
        self.answer(status, port.encode() if body == "port" else told.encode(), "text/x-" + name)

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "0.0.0.0")
ThreadingHTTPServer((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
"""
READ = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
LOGS = {"Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}


class Hosting:
    """What a test says to a local cloud's hosting."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.sagemaker = cloud.client("sagemaker")
        self.runtime = cloud.client("sagemaker-runtime")
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        self.image = self.build_context("image.zip", DOCKERFILE, SERVER)
        self.role = cloud.role("hosting", READ, LOGS)

    def build_context(self, key: str, dockerfile: str, server: str) -> str:
        """The address of an image of one program."""
        context = io.BytesIO()
        with zipfile.ZipFile(context, "w") as archive:
            archive.writestr("Dockerfile", dockerfile)
            archive.writestr("server.py", server)
        self.cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=context.getvalue())
        return f"s3://{BUCKET}/{key}"

    def artefact(self, name: str, **behaviour: Any) -> str:
        """The address of a model artefact whose server behaves so."""
        key = f"{name}/model.tar.gz"
        self.cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=archive_of(name, **behaviour))
        return f"s3://{BUCKET}/{key}"

    def model(self, name: str, role: str = "", environment: Mapping[str, str] | None = None, **behaviour: Any) -> str:
        """A model of that name."""
        self.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": self.image,
                "ModelDataUrl": self.artefact(name, **behaviour),
                "Environment": dict(environment or {}),
            },
            ExecutionRoleArn=role or self.role,
        )
        return name

    def config(self, name: str, *models: str, count: int = 1, **variant: Any) -> str:
        """An endpoint configuration with a variant for each model, named as the model is."""
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": model,
                    "ModelName": model,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": count,
                    **variant,
                }
                for model in models or (self.model(name),)
            ],
        )
        return name

    def endpoint(self, name: str, config: str = "") -> str:
        """An endpoint that is in service."""
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config or self.config(name))
        described = self.settled(name)
        assert described["EndpointStatus"] == "InService", described
        return name

    def settled(self, name: str, timeout_s: float = 120) -> dict[str, Any]:
        """DescribeEndpoint once nothing changes any more."""
        return self.described(name, "InService", "Failed", "OutOfService", timeout_s=timeout_s)

    def described(self, name: str, *statuses: str, timeout_s: float = 120) -> dict[str, Any]:
        """DescribeEndpoint once it has one of the statuses."""
        deadline = time.monotonic() + timeout_s
        while True:
            described = dict(self.sagemaker.describe_endpoint(EndpointName=name))
            fits("DescribeEndpoint", described)
            if described["EndpointStatus"] in statuses:
                return described
            assert time.monotonic() < deadline, described
            time.sleep(0.05)

    def gone(self, name: str, timeout_s: float = 60) -> bool:
        """Whether the endpoint is gone within that time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            # By the name: an answer has the ten newest of all that there are.
            listed = self.sagemaker.list_endpoints(NameContains=name, MaxResults=100)["Endpoints"]
            if name not in [endpoint["EndpointName"] for endpoint in listed]:
                return True
            time.sleep(0.05)
        return False

    def ask(self, endpoint: str, body: bytes | dict[str, Any] = b"{}", **arguments: Any) -> dict[str, Any]:
        """What the server says that it got."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=content, **arguments)
        return dict(json.loads(answer["Body"].read()))


def archive_of(name: str, **behaviour: Any) -> bytes:
    """A model archive whose server behaves so."""
    content = json.dumps({"name": name, **behaviour}).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def fits(operation: str, response: dict[str, Any]) -> None:
    """Fail if a response does not fit its shape in botocore's model."""
    report = ParamValidator().validate(
        {key: value for key, value in response.items() if key != "ResponseMetadata"}, _shape(operation)
    )
    assert not report.has_errors(), report.generate_report()


@cache
def _shape(operation: str) -> Shape:
    """Read once: botocore's model of SageMaker takes a tenth of a second, and who waits for a status asks often."""
    shape = _sagemaker().operation_model(operation).output_shape
    assert shape is not None
    return shape


@cache
def _sagemaker() -> ServiceModel:
    return botocore.session.get_session().get_service_model("sagemaker")
