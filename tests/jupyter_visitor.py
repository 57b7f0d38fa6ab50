"""What a person's browser does with a notebook instance, without a browser: cookies, XSRF, and a kernel's websocket."""

from __future__ import annotations

import http.cookiejar
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PYTHON = Path(__file__).parent.parent / ".venv-notebook" / "bin" / "python"
EXECUTE = """
import json, sys, uuid, websocket
url, headers, code = json.load(sys.stdin)
try:
    socket = websocket.create_connection(url, header=headers, timeout=60)
except websocket.WebSocketBadStatusException as error:
    print(f"refused {error.status_code}")
    sys.exit()
number = uuid.uuid4().hex
header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": number, "version": "5.3", "date": ""}
content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
socket.send(json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}))
while True:
    message = json.loads(socket.recv())
    if message["parent_header"].get("msg_id") != number:
        continue
    if message["msg_type"] == "stream":
        sys.stdout.write(message["content"]["text"])
    if message["msg_type"] == "error":
        sys.stdout.write(message["content"]["evalue"])
    if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
        break
"""
TYPE = """
import json, sys, websocket
url, headers, command = json.load(sys.stdin)
socket = websocket.create_connection(url, header=headers, timeout=60)
socket.send(json.dumps(["stdin", command + "; echo the-${EMPTY}end\\r"]))
shown = ""
while "the-end" not in shown:
    kind, *data = json.loads(socket.recv())
    shown += data[0] if kind == "stdout" else ""
print(shown)
"""


class Visitor:
    """One browser: what it has been given, it sends along."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._cookies)
        )

    def open(self, url: str) -> tuple[int, str, str]:
        """The status, the address in the end, and the page."""
        try:
            with self._opener.open(url, timeout=60) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.url, error.read().decode()

    def cookies(self) -> str:
        """The header with which it sends what it has been given."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)

    def status(self, path: str = "lab") -> int:
        return self.open(self.base_url + path)[0]

    def ask(self, method: str, path: str, body: Any = None, *, xsrf: bool = True) -> tuple[int, Any]:
        """What the API answers, as JupyterLab's own page would ask."""
        headers = {"Content-Type": "application/json"}
        token = next((cookie.value for cookie in self._cookies if cookie.name == "_xsrf"), None)
        if xsrf and token:
            headers["X-XSRFToken"] = token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def run(self, code: str, kernel: str = "python3") -> str:
        """What a new kernel prints when it executes something, over its websocket."""
        status, made = self.ask("POST", "api/kernels", {"name": kernel})
        assert status == 201, made
        try:
            return self.execute(made["id"], code)
        finally:
            self.ask("DELETE", f"api/kernels/{made['id']}")

    def execute(self, kernel_id: str, code: str) -> str:
        """What a kernel prints; `refused STATUS` where the websocket does not open."""
        return self._over_websocket(EXECUTE, f"api/kernels/{kernel_id}/channels", code)

    def type(self, command: str) -> str:
        """What a new terminal shows for a command."""
        status, made = self.ask("POST", "api/terminals")
        assert status == 200, made
        try:
            return self._over_websocket(TYPE, f"terminals/websocket/{made['name']}", command)
        finally:
            self.ask("DELETE", f"api/terminals/{made['name']}")

    def _over_websocket(self, program: str, path: str, said: str) -> str:
        url = f"{self.base_url.replace('http', 'ws', 1)}{path}"
        asked = json.dumps([url, [f"Cookie: {self.cookies()}"], said])
        done = subprocess.run(
            [PYTHON, "-c", program], input=asked, capture_output=True, text=True, timeout=150, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
