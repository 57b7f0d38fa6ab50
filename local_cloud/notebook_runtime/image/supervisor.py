"""The first process of a notebook instance: runs lifecycle scripts, git and JupyterLab at the local cloud's word, and ends with it.

Both runtimes run it: in a container as process 1, and as a process of its own where there is no engine. It reads commands
from its standard input and answers on its standard output, one JSON object a line. Its input closes when the local cloud
ends, however it ends: then everything of the instance ends, so that nothing outlives a local cloud that was killed.
Standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import glob
import json
import os
import pwd
import queue
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.error
import urllib.request
from collections import deque

HOOK_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
"""SageMaker API reference, NotebookInstanceLifecycleHook: the PATH of both scripts (without its typing error)."""
LINE_BYTES = 64 * 1024
"""Longer lines arrive in pieces: one event of CloudWatch Logs holds 256 KB."""
CLONE_TIMEOUT_S = 60
ENDING_GRACE_S = 2
"""How long JupyterLab may take to end where nobody says how long: the local cloud is gone."""
LAST_LINES = 15
PR_SET_CHILD_SUBREAPER = 36

_output = threading.Lock()


def say(**message):
    """Tell the local cloud; where nobody listens any more, the closed input ends everything soon."""
    with _output, contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


class Children:
    """Starts processes and knows how they ended, and takes in those that others have left: process 1 must, or they stay."""

    def __init__(self):
        self._changed = threading.Condition()
        self._codes = {}
        threading.Thread(target=self._reap, daemon=True).start()

    def start(self, arguments, **options):
        """Start a process in a session of its own; its Popen, whose `wait` is not to be called."""
        with self._changed:
            process = subprocess.Popen(arguments, start_new_session=True, **options)
            self._codes.pop(process.pid, None)
            self._changed.notify_all()
            return process

    def wait(self, pid, timeout_s=None):
        """The exit code (128 and the number of the signal), or None where it still runs."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, timeout_s)
            return self._codes.get(pid)

    def _reap(self):
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                with self._changed:
                    self._changed.wait(0.2)
                continue
            code = os.waitstatus_to_exitcode(status)
            with self._changed:
                self._codes[pid] = code if code >= 0 else 128 - code
                self._changed.notify_all()


class Output(threading.Thread):
    """Passes on what a process prints, line by line, for as long as anybody holds the other end."""

    def __init__(self, stream, source, keep=None):
        super().__init__(daemon=True)
        self._stream, self._source, self._keep = stream, source, keep
        self.last = deque(maxlen=LAST_LINES)
        self.start()

    def run(self):
        with self._source as source:
            while line := source.readline(LINE_BYTES):
                text = line.rstrip(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
                self.last.append(text)
                if self._keep is not None:
                    with contextlib.suppress(OSError):
                        self._keep.write(text + "\n")
                        self._keep.flush()
                say(stream=self._stream, line=text)

    def catch_up(self, within_s=5.0):
        """Wait until what was printed is passed on; the other end may stay open, held by a process in the background."""
        deadline = time.monotonic() + within_s
        while self.is_alive() and time.monotonic() < deadline:
            self.join(0.05)
            with contextlib.suppress(OSError, ValueError):
                waiting = struct.unpack("i", fcntl.ioctl(self._source, termios.FIONREAD, b"\0" * 4))[0]
                if not waiting:
                    self.join(0.05)
                    return


class Supervisor:
    """One instance. See `local_cloud/notebook_runtime/runtime.py` for what its commands promise."""

    def __init__(self, settings):
        self.home, self.volume = settings["home"], settings["volume"]
        self.user = pwd.getpwnam(settings["user"]) if settings["user"] else None
        self.environment = settings["environment"]
        self.jupyter_command = settings["jupyter"]
        self.tickets, self.jupyter_log = settings["tickets"], settings["jupyter_log"]
        self.sudoers = settings["sudoers"]
        self.children = Children()
        self.jupyter = None
        self.stopping = False
        self._prepare(settings)

    def _prepare(self, settings):
        os.makedirs(self.volume, exist_ok=True)
        os.makedirs(self.tickets, mode=0o700, exist_ok=True)
        self._own(self.tickets)
        self._take_volume()
        for path, mode, is_users, text in settings["files"]:
            for folder in missing_folders(path):
                os.mkdir(folder)
                if is_users:
                    self._own(folder)
            # Never readable by others in between: some hold keys.
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, mode)
            if is_users:
                self._own(path)
        for command in settings["services"]:
            self.children.start(command, stdin=subprocess.DEVNULL)

    def _take_volume(self):
        """Make the volume ec2-user's with all that is in it, where another runtime, whose user was another, has filled it."""
        if self.user is None or os.stat(self.volume).st_uid == self.user.pw_uid:
            return
        for folder, folders, files in os.walk(self.volume):
            for name in (*folders, *files):
                os.lchown(os.path.join(folder, name), self.user.pw_uid, self.user.pw_gid)
        self._own(self.volume)

    def _own(self, *paths):
        if self.user is not None:
            for path in paths:
                os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def _as_user(self, **more):
        """Options of a process that is ec2-user's, in its home."""
        environment = {**self.environment, "HOME": self.home, **more}
        if self.user is None:
            return {"env": environment}
        name, group = self.user.pw_name, self.user.pw_gid
        identity = {"user": self.user.pw_uid, "group": group, "extra_groups": os.getgrouplist(name, group)}
        return {"env": {**environment, "USER": name, "LOGNAME": name, "SHELL": "/bin/bash"}, **identity}

    # --- Commands: each answers once, as a dictionary ----------------------------------------------------

    def hook(self, name, script, timeout_s):
        """Run a lifecycle script, and leave what it started in the background."""
        stamp = time.strftime("%Y-%m-%d-%H-%M")
        descriptor, path = tempfile.mkstemp(prefix=name + "_" + stamp, dir="/tmp")
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64decode(script))
        os.chmod(path, 0o700)
        # Whoever is in the foreground has this input, or is below one who has it; a shell gives its background another.
        reading, writing = os.pipe()
        os.close(writing)
        try:
            # Through a shell, which runs a script without a first line, too, and says why one cannot be run.
            process = self.children.start(
                ["/bin/sh", "-c", '"$0"', path],
                cwd="/",
                env={"PATH": HOOK_PATH},
                stdin=reading,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            output = Output("LifecycleConfig" + name, process.stdout)
            code = self.children.wait(process.pid, timeout_s)
            if code is None:
                kill_foreground(process.pid)
            output.catch_up()
            return {"code": code}
        finally:
            os.close(reading)

    def clone(self, url, branch, username, password, folder):
        """Clone a repository unless its folder has something in it."""
        target = os.path.join(self.volume, folder)
        if os.path.commonpath([os.path.realpath(target), os.path.realpath(self.volume)]) != os.path.realpath(self.volume):
            return {"said": f"the folder {folder} is outside of the volume"}
        if os.path.isdir(target) and os.listdir(target):
            return {"said": None}
        with tempfile.TemporaryDirectory(prefix="askpass-") as secrets:
            askpass = os.path.join(secrets, "askpass")
            with open(askpass, "w", encoding="utf-8") as file:
                file.write('#!/bin/sh\ncase "$1" in Username*) echo "$GIT_USERNAME" ;; *) echo "$GIT_PASSWORD" ;; esac\n')
            os.chmod(askpass, 0o700)
            self._own(secrets, askpass)
            given = {"GIT_ASKPASS": "/bin/false"}
            if password is not None:
                given = {"GIT_ASKPASS": askpass, "GIT_USERNAME": username or "", "GIT_PASSWORD": password}
            return self._cloned(url, ["--branch", branch] if branch else [], target, given)

    def _cloned(self, url, options, target, given):
        # No helper of this machine's: it would offer somebody's own password, or keep this one.
        command = ["git", "-c", "credential.helper=", "clone", *options, "--", url, target]
        try:
            process = self.children.start(
                command,
                cwd=self.volume,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                **self._as_user(GIT_TERMINAL_PROMPT="0", GIT_SSH_COMMAND="ssh -oBatchMode=yes", **given),
            )
        except OSError as error:
            return {"said": f"git cannot be started: {error.strerror or error}"}
        output = Output("git", process.stdout)
        code = self.children.wait(process.pid, CLONE_TIMEOUT_S)
        if code is None:
            # SIGTERM first: git removes what it has begun.
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)
                self.children.wait(process.pid, 3)
            return {"said": f"git clone {url} took longer than {CLONE_TIMEOUT_S} seconds"}
        output.catch_up()
        return {"said": "\n".join(output.last) or f"git ended with {code}" if code else None}

    def start_jupyter(self, ip, port, default_url, allow_sudo, timeout_s):
        """Start JupyterLab and wait until it answers: `up`, or the lines with which it did not come up."""
        if self.sudoers and allow_sudo:
            with open(os.open(self.sudoers, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o440), "w", encoding="utf-8") as file:
                file.write(f"{self.user.pw_name} ALL=(ALL) NOPASSWD:ALL\n")
        arguments = [
            *self.jupyter_command,
            "--no-browser",
            f"--ServerApp.ip={ip}",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.volume}",
            f"--LabApp.default_url={default_url}",
        ]
        log = open(self.jupyter_log, "a", encoding="utf-8")  # noqa: SIM115 - the reader's, to its end
        try:
            process = self.children.start(
                arguments,
                cwd=self.volume,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                **self._as_user(SAGESTACK_TICKETS=self.tickets),
            )
        except OSError as error:
            return {"up": False, "lines": [f"{arguments[0]} cannot be started: {error.strerror or error}"]}
        output = Output("jupyter.log", process.stdout, log)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            code = self.children.wait(process.pid, 0.1)
            if code is not None:
                output.catch_up()
                return {"up": False, "lines": [*output.last, f"JupyterLab ended with {code}"]}
            if self._answers(process.pid, port):
                self.jupyter = process.pid
                threading.Thread(target=self._tell_end, args=(process.pid,), daemon=True).start()
                return {"up": True, "pid": process.pid}
        self._kill_jupyter(process.pid, ENDING_GRACE_S)
        output.catch_up()
        return {"up": False, "lines": [*output.last, f"JupyterLab did not answer within {timeout_s:g} seconds"]}

    def _answers(self, pid, port):
        # Its own note says that it, and not somebody else, listens on the port.
        if not os.path.exists(os.path.join(self.home, ".local/share/jupyter/runtime", f"jpserver-{pid}.json")):
            return False
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"http://127.0.0.1:{port}/api", timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def _tell_end(self, pid):
        code = self.children.wait(pid)
        say(ended="jupyter", code=code)

    def ticket(self, digest, expires_at, session_seconds):
        """Let whoever knows the token in, once."""
        path = os.path.join(self.tickets, digest)
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({"expires_at": expires_at, "session_seconds": session_seconds}, file)
        self._own(path + ".new")
        os.replace(path + ".new", path)
        return {}

    def stop(self, grace_s):
        """End JupyterLab, then everything."""
        self.stopping = True
        if self.jupyter is not None:
            self._kill_jupyter(self.jupyter, grace_s)
        kill_descendants()
        return {}

    def _kill_jupyter(self, pid, grace_s):
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, ENDING_GRACE_S)):
            if self.children.wait(pid, 0) is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                self.children.wait(pid, wait_s)


def missing_folders(path):
    """The folders above a path that are not there, the outermost first."""
    missing = []
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing


def parents():
    """Who was started by whom: a process's parent, by its number. Empty where the system has no /proc."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
            # The second field is the program's name in parentheses, and may hold anything.
            found[int(path.split("/")[2])] = int(text.rpartition(")")[2].split()[1])
    return found


def kill_foreground(script):
    """Kill a script and whom it waits for. A shell gives what it starts with `&` /dev/null as its input: that stays."""
    family = parents()
    doomed = [script]
    for pid in doomed:
        for child in [child for child, parent in family.items() if parent == pid]:
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{child}/fd/0") != "/dev/null":
                    doomed.append(child)
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_descendants():
    """Kill all that this process, or what it had started, has started: as a subreaper it has become everybody's parent."""
    for _ in range(20):
        family = parents()
        mine = {os.getpid()}
        while grown := {child for child, parent in family.items() if parent in mine} - mine:
            mine |= grown
        mine.discard(os.getpid())
        if not mine:
            return
        for pid in mine:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main():
    """Do as told until the input closes or `stop` is answered."""
    for number in (signal.SIGINT, signal.SIGHUP):
        # Whoever presses Ctrl-C means the local cloud, which then stops its instances.
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    supervisor = None
    ended = queue.Queue()
    # As `docker stop` asks process 1; there is a time limit to it.
    signal.signal(signal.SIGTERM, lambda *_: ended.put("SIGTERM"))

    def obey():
        nonlocal supervisor
        for line in sys.stdin:
            command = json.loads(line)
            number, verb = command.pop("number"), command.pop("do")
            if verb == "begin":
                supervisor = Supervisor(command["settings"])
                say(answer=number)
                continue
            # Each in its own thread: a long script must not keep the order to stop waiting.
            threading.Thread(target=answer, args=(getattr(supervisor, verb), number, command), daemon=True).start()
        ended.put("closed")

    def answer(method, number, command):
        try:
            reply = method(**command)
        except Exception as error:  # whatever it is, whoever asked must not wait for ever
            reply = {"failed": f"{type(error).__name__}: {error}"}
        say(answer=number, **reply)
        if method.__name__ == "stop":
            ended.put("stopped")

    def obeying():
        try:
            obey()
        except Exception as error:
            say(failed=f"{type(error).__name__}: {error}")
            ended.put("failed")

    threading.Thread(target=obeying, daemon=True).start()
    # With a time limit, because a signal's handler runs between two calls only.
    while True:
        with contextlib.suppress(queue.Empty):
            reason = ended.get(timeout=0.5)
            break
    if reason != "stopped" and supervisor is not None:
        supervisor.stop(ENDING_GRACE_S)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
