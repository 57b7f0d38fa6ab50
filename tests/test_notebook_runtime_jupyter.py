"""A notebook instance as a process, with the real JupyterLab: who gets in, for how long, and what kernels and terminals have."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_cloud.containers import leftovers
from local_cloud.notebook_runtime.process_runtime import ProcessInstance, ProcessRuntime
from local_cloud.sagemaker import loopback_ports
from tests.jupyter_visitor import Visitor
from tests.local_cloud_fixtures import LocalCloud
from tests.notebook_instances import ARN, Printed, instance_spec
from tests.waiting import wait_for

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(300)]


@dataclass
class Started:
    """An instance with its JupyterLab."""

    instance: ProcessInstance
    base_url: str
    printed: Printed
    folder: Path

    def url(self, valid_s: float = 300, session_s: float = 1800) -> str:
        return self.instance.authorize(secrets.token_urlsafe(32), time.time() + valid_s, session_s)

    def visitor(self) -> Visitor:
        """Somebody who is in."""
        visitor = Visitor(self.base_url)
        assert visitor.open(self.url())[0] == 200
        return visitor


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder, printed = tmp_path_factory.mktemp("instance"), Printed()
    runtime = ProcessRuntime(folder / "state")
    instance = runtime.start(instance_spec(folder, printed))
    (folder / "volume" / "my analysis").mkdir()
    yield Started(instance, instance.start_jupyter("my analysis"), printed, folder)
    runtime.close()


def test_a_presigned_url_opens_jupyterlab_in_the_default_repository(started: Started) -> None:
    status, address, page = Visitor(started.base_url).open(started.url())
    assert status == 200
    assert address == started.base_url + "lab/tree/my%20analysis"
    assert "<title>JupyterLab</title>" in page


def test_a_presigned_url_opens_once(started: Started) -> None:
    url, visitor = started.url(), Visitor(started.base_url)
    assert visitor.open(url)[0] == 200
    status, _, page = Visitor(started.base_url).open(url)
    assert status == 403
    assert "sagestack notebook open" in page
    # Whoever is in already stays in: people open bookmarks and go back.
    assert visitor.open(url)[0] == 200


def test_of_two_who_come_at_once_one_gets_in(started: Started) -> None:
    from concurrent.futures import ThreadPoolExecutor

    url = started.url()
    with ThreadPoolExecutor(8) as pool:
        came = list(pool.map(lambda _: Visitor(started.base_url).open(url)[0], range(8)))
    assert sorted(came) == [200, *[403] * 7]


@pytest.mark.parametrize(
    "path",
    ["lab?authToken=unknown", "?authToken=../../etc/passwd", "?authToken=", "lab", "tree", "login", "lab?token=wrong"],
)
def test_nobody_enters_without_a_presigned_url(started: Started, path: str) -> None:
    status, _, page = Visitor(started.base_url).open(started.base_url + path)
    assert status == 403
    assert "create-presigned-notebook-instance-url" in page


@pytest.mark.parametrize("path", ["api/contents", "api/status", "api/kernels", "api/terminals", "files/x", "metrics"])
def test_no_part_of_the_api_is_open(started: Started, path: str) -> None:
    assert Visitor(started.base_url).status(path) == 403


def test_a_presigned_url_that_is_too_old_opens_nothing(started: Started) -> None:
    visitor = Visitor(started.base_url)
    assert visitor.open(started.url(valid_s=-1))[0] == 403
    assert visitor.status() == 403


def test_a_presigned_url_leads_to_no_other_host(started: Started) -> None:
    visitor = started.visitor()
    for url in (started.url(), f"{started.base_url}?authToken=used"):
        token = url.partition("?")[2]
        assert visitor.open(f"{started.base_url}/evil.example/lab?{token}")[1].startswith(
            started.base_url + "evil.example"
        )


def test_two_instances_on_one_host_know_their_own_visitors_only(started: Started, tmp_path: Path) -> None:
    runtime = ProcessRuntime(tmp_path / "state")
    other = runtime.start(instance_spec(tmp_path, Printed()))
    base_url = other.start_jupyter(None)
    visitor = started.visitor()
    url = started.url()
    assert visitor.open(f"{base_url}lab?{url.partition('?')[2]}")[0] == 403, "a presigned URL is for one instance"
    assert visitor.open(base_url + "api/contents")[0] == 403, "and so is a session, which browsers send to every port"
    assert visitor.open(other.authorize("token-of-the-other", time.time() + 60, 1800))[0] == 200
    assert [visitor.open(each + "api/contents")[0] for each in (base_url, started.base_url)] == [200, 200]
    runtime.close()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io", "169.254.169.254", "localhost.evil.example:80"])
def test_a_name_of_the_internet_that_leads_to_this_machine_opens_nothing(started: Started, host: str) -> None:
    url = started.url()
    for path in (f"lab?{url.partition('?')[2]}", "api/contents"):
        request = urllib.request.Request(started.base_url + path, headers={"Host": host})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=60)
    assert Visitor(started.base_url).open(url)[0] == 200, "and the presigned URL is not used up by it"


def test_a_session_lasts_as_long_as_was_said(started: Started) -> None:
    visitor, host = started.visitor(), started.base_url.partition("://")[2].rstrip("/")

    def asked(path: str, cookie: str = "") -> tuple[int, str]:
        """The status, and the cookie that came with it; follows nowhere."""
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        connection.close()
        return answer.status, answer.headers.get("Set-Cookie", "").partition(";")[0]

    status, cookie = asked(f"/lab?{started.url(session_s=0.5).partition('?')[2]}")
    assert status == 302, "it begins, and may be over before the page is shown"
    wait_for(lambda: asked("/api/contents", cookie)[0] == 403)
    assert asked("/login", cookie)[0] == 403, "to where every page sends whoever is not in"
    assert visitor.status() == 200


def test_another_sites_page_cannot_speak_for_a_visitor(started: Started) -> None:
    visitor = started.visitor()
    assert visitor.ask("POST", "api/kernels", {}, xsrf=False)[0] == 403
    status, made = visitor.ask("POST", "api/contents", {"type": "notebook"})
    assert status == 201
    assert (started.folder / "volume" / made["path"]).is_file()


@pytest.mark.parametrize("kernel", ["python3", "conda_python3"])
def test_a_kernel_computes_and_has_the_roles_credentials(started: Started, kernel: str) -> None:
    printed = started.visitor().run(
        """
import boto3, json, os
session = boto3.Session()
found = session.get_credentials()
print(json.dumps({
    "sum": sum(range(10)), "key": found.access_key, "token": found.token, "region": session.region_name,
    "endpoint": session.client("s3").meta.endpoint_url, "variables": sorted(name for name in os.environ if "KEY" in name),
    "home": os.path.expanduser("~"), "arn": json.load(open(os.environ["SAGESTACK_METADATA"]))["ResourceArn"],
}))
""",
        kernel,
    )
    told = json.loads(printed)
    assert told.pop("home").startswith(str(started.folder / "state"))
    assert told == {
        "sum": 45,
        "key": "ASIAEXAMPLE",
        "token": "token-example",
        "region": "us-east-1",
        "endpoint": "https://127.0.0.1:4566",
        "variables": [],
        "arn": ARN,
    }


def test_what_pip_installs_is_the_instances_own(started: Started) -> None:
    wheel = started.folder / "greeting-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("greeting.py", "SAID = 'hello'\n")
        archive.writestr("greeting-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1\n")
        archive.writestr("greeting-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("greeting-1.dist-info/RECORD", "")
    source = f"%pip install --no-index {wheel}\nimport greeting, pandas\nprint(greeting.SAID, greeting.__file__)"
    shown = started.visitor().run(source, "python3")
    assert f"hello {started.folder / 'state'}" in shown, shown
    assert f"in {started.folder / 'state'}" in started.visitor().type("echo in $(command -v pip)")


def test_a_terminal_has_the_roles_credentials(started: Started) -> None:
    shown = started.visitor().type("cat ~/.aws/credentials; echo in $AWS_DEFAULT_REGION; pwd")
    assert "aws_access_key_id = ASIAEXAMPLE" in shown
    assert "in us-east-1" in shown
    assert str(started.folder / "volume") in shown


def test_a_port_that_somebody_else_took_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        runtime, printed = ProcessRuntime(tmp_path / "state"), Printed()
        choose = loopback_ports.take
        ports = iter([taken])
        monkeypatch.setattr(loopback_ports, "take", lambda: next(ports, None) or choose())
        base_url = runtime.start(instance_spec(tmp_path, printed)).start_jupyter(None)
        assert str(taken) not in base_url
        assert printed.has("jupyter.log", f"The port {taken} is already in use")
        runtime.close()


def test_a_kernels_websocket_is_closed_to_others(started: Started) -> None:
    visitor = started.visitor()
    kernel = visitor.ask("POST", "api/kernels", {"name": "python3"})[1]["id"]
    assert Visitor(started.base_url).execute(kernel, "print(1)").strip() == "refused 403"
    visitor.ask("DELETE", f"api/kernels/{kernel}")


@pytest.mark.parametrize(
    ("origin", "status"),
    [("{own}", 101), ("http://evil.example", 403), ("http://127.0.0.1:1", 403), ("null", 403)],
    ids=["own", "another host", "another port", "none"],
)
def test_a_visitors_websocket_is_opened_by_jupyterlabs_own_page_only(
    started: Started, origin: str, status: int
) -> None:
    visitor = started.visitor()
    kernel = visitor.ask("POST", "api/kernels", {"name": "python3"})[1]["id"]
    host = started.base_url.partition("://")[2].rstrip("/")
    connection = http.client.HTTPConnection(host, timeout=60)
    headers = {
        "Cookie": visitor.cookies(),
        "Origin": origin.format(own=started.base_url.rstrip("/")),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "c29tZXRoaW5nIHJhbmRvbQ==",
        "Sec-WebSocket-Version": "13",
    }
    connection.request("GET", f"/api/kernels/{kernel}/channels", headers=headers)
    assert connection.getresponse().status == status
    connection.close()
    visitor.ask("DELETE", f"api/kernels/{kernel}")


def test_a_program_on_the_instance_enters_with_the_token_of_the_runtime_file(started: Started) -> None:
    (path,) = (started.folder / "state").rglob("jpserver-*.json")
    about = json.loads(path.read_text())
    request = urllib.request.Request(
        f"{about['url']}api/terminals", headers={"Authorization": f"token {about['token']}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.loads(answer.read()) == []
    assert about["url"] == started.base_url
    assert path.stat().st_mode & 0o077 == 0


def test_no_secret_is_in_the_log(started: Started) -> None:
    (path,) = (started.folder / "state").rglob("jpserver-*.json")
    token = secrets.token_urlsafe(32)
    Visitor(started.base_url).open(started.instance.authorize(token, time.time() + 300, 1800))
    started.printed.has("jupyter.log", "is running at")
    log = "\n".join(started.printed.of("jupyter.log"))
    assert json.loads(path.read_text())["token"] not in log
    assert token not in log
    assert "secret-example" not in log


def test_a_session_does_not_survive_a_stop_and_the_volume_does(tmp_path: Path) -> None:
    runtime, printed = ProcessRuntime(tmp_path / "state"), Printed()
    instance = runtime.start(instance_spec(tmp_path, printed))
    first = instance.start_jupyter(None)
    visitor = Visitor(first)
    visitor.open(instance.authorize("token", time.time() + 300, 1800))
    notebook = visitor.ask("POST", "api/contents", {"type": "notebook"})[1]["path"]
    kernel = visitor.ask("POST", "api/kernels", {"name": "python3"})[1]["id"]
    pid = int(visitor.execute(kernel, "import os; print(os.getpid())"))
    instance.stop(10)
    assert leftovers.start_time(pid) is None, "the kernel has outlived its instance"
    instance = runtime.start(instance_spec(tmp_path, printed))
    second = instance.start_jupyter(None)
    visitor.base_url = second
    assert visitor.status() == 403
    visitor.open(instance.authorize("token", time.time() + 300, 1800))
    assert [entry["name"] for entry in visitor.ask("GET", "api/contents")[1]["content"]] == [notebook]
    runtime.close()


def test_a_session_outlives_a_crash_of_jupyterlab(tmp_path: Path) -> None:
    runtime, printed = ProcessRuntime(tmp_path / "state"), Printed()
    instance = runtime.start(instance_spec(tmp_path, printed))
    visitor = Visitor(instance.start_jupyter(None))
    assert visitor.open(instance.authorize("token", time.time() + 300, 1800))[0] == 200
    assert instance.jupyter_pid is not None
    os.kill(instance.jupyter_pid, signal.SIGKILL)
    assert printed.has("jupyter.log", "it is started again")

    def is_in() -> bool:
        try:
            return visitor.status("api/contents") == 200
        except OSError:
            return False

    wait_for(is_in, 60)
    runtime.close()


def test_a_kernel_reaches_the_local_cloud_as_the_instances_role_and_no_further(own_cloud: LocalCloud) -> None:
    sagemaker, s3 = own_cloud.client("sagemaker"), own_cloud.client("s3")
    for bucket in ("mine", "others"):
        s3.create_bucket(Bucket=bucket)
    allowed = {"Action": "s3:*", "Resource": ["arn:aws:s3:::mine", "arn:aws:s3:::mine/*"]}
    role = own_cloud.role("explorer", allowed, {"Action": "logs:*", "Resource": "*"})
    sagemaker.create_notebook_instance(NotebookInstanceName="explore", InstanceType="ml.t3.medium", RoleArn=role)

    def described() -> Any:
        return sagemaker.describe_notebook_instance(NotebookInstanceName="explore")

    wait_for(lambda: described()["NotebookInstanceStatus"] != "Pending", 90)
    assert described()["NotebookInstanceStatus"] == "InService", described().get("FailureReason")
    visitor = Visitor(f"http://{described()['Url']}/")
    url = sagemaker.create_presigned_notebook_instance_url(NotebookInstanceName="explore")["AuthorizedUrl"]
    assert visitor.open(url)[0] == 200
    printed = visitor.run("""
import boto3
print(boto3.client("sts").get_caller_identity()["Arn"])
s3 = boto3.client("s3")
s3.put_object(Bucket="mine", Key="a", Body=b"1")
print([one["Key"] for one in s3.list_objects_v2(Bucket="mine")["Contents"]])
try:
    s3.list_objects_v2(Bucket="others")
except s3.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
""")
    identity, keys, refused = printed.splitlines()
    assert identity.startswith(f"arn:aws:sts::{own_cloud.account}:assumed-role/explorer/")
    assert (keys, refused) == ("['a']", "AccessDenied")
