"""Looks for signs that somebody or something works on a notebook instance: Jupyter, processes, terminals, files.

Nothing here compares a time that somebody else wrote with the clock: what counts is that it is another than at the last look.
So a clock that is set stops nothing too early, and keeps nothing alive.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from auto_stop_processes import Process, people

STARTING_S = 600
"""A kernel that still starts after this does not work: it hangs."""

STEP_S = 24 * 3600
"""A step of the lifecycle config that runs longer was killed before it could say that it ended."""

FILES = 5000
"""How many files and folders of the volume are looked at, those nearest to its top first."""

STARTING_BYTES = 32_000_000
"""What a program of this project reads before it does anything: Python itself and the clients of AWS, twice over."""

HERTZ = os.sysconf("SC_CLK_TCK")


class Look:
    """One look at the instance.

    Attributes:
        active: why it is in use, in words; empty where nothing works.
        doubts: what could not be found out.
        open_tab: whether a browser, or another client, is connected to a kernel, or moves much through a server.
        ttys: the terminals of people.
        marks: what the next look compares with.
        since: when each thing that is bounded was first seen, in seconds of the monotonic clock.
    """

    def __init__(self, world: Any, last: dict[str, Any], now: float) -> None:
        self.world, self.now = world, now
        self.last: dict[str, Any] = last.get("marks", {})
        self.last_since: dict[str, float] = last.get("since", {})
        self.elapsed = now - last.get("now", now) or 1.0
        self.active: list[str] = []
        self.doubts: list[str] = []
        self.open_tab = False
        self.ttys: set[Path] = set()
        self.marks: dict[str, Any] = {}
        self.since: dict[str, float] = {}
        servers = self.servers()
        for url, (token, pid) in servers.items():
            # AWS's own server is guessed. Where others run and it does not answer, it is not there.
            self.jupyter(url, token, bool(pid) or len(servers) == 1)
        self.processes([pid for _, pid in servers.values()])
        self.files()
        self.steps()

    def changed(self, key: str, value: Any) -> bool:
        """Whether it is new, or another than at the last look. The first look of all has nothing to compare with."""
        self.marks[key] = value
        return bool(self.last) and self.last.get(key) != value

    def rate(self, key: str, value: float) -> float:
        """How much it grew per second since the last look."""
        self.marks[key] = value
        return (value - self.last.get(key, 0)) / self.elapsed if self.last else 0

    def within(self, key: str, seconds: float) -> bool:
        """Whether it was first seen, without a break, less than so many seconds ago."""
        self.since[key] = self.last_since.get(key, self.now)
        return self.now - self.since[key] < seconds

    # --- Jupyter ---

    def servers(self) -> dict[str, tuple[str, int]]:
        """Token and process of each Jupyter server, by URL: those that say where they are, and the instance's own."""
        found: dict[str, tuple[str, int]] = {}
        for path in self.world.runtime.glob("*server-*.json"):
            try:
                info = json.loads(path.read_text())
                # Another server left it behind when it was killed.
                if not (self.world.proc / str(info["pid"])).exists():
                    continue
                # By its address here, not by the name in `url`: the token is for this machine only.
                host = info["hostname"] if info["hostname"].startswith("127.") else "localhost"
                scheme = "https" if info["secure"] else "http"
                url = f"{scheme}://{host}:{info['port']}{info['base_url']}".rstrip("/")
                found[url] = (info["token"], info["pid"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
        own = self.world.jupyter
        if not any(url.split("/")[2].endswith(own[own.rindex(":") :]) for url in found):
            found[own] = ("", 0)
        return found

    def ask(self, url: str, token: str, key: str) -> list[dict[str, Any]]:
        """What a list of the API has, by JSON. Raises whatever went wrong; takes no longer than the world allows."""
        result: list[Any] = []

        def work() -> None:
            # Straight to this machine, whatever proxy is set; AWS's certificate is signed by nobody.
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}),
                urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),  # noqa: S323
            )
            try:
                request = urllib.request.Request(  # noqa: S310
                    url + "?no_track_activity=1", headers={"Authorization": "token " + token}
                )
                with opener.open(request, timeout=self.world.timeout_s) as response:
                    answer = json.loads(response.read(4_000_000))
                result.append([{**one, key: one[key] + ""} for one in answer])
            except Exception as error:
                result.append(error)

        # The timeout of a socket begins anew with each byte: a server that drips would hold us for ever.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self.world.timeout_s)
        answer = result[0] if result else TimeoutError("no answer in time")
        if isinstance(answer, list):
            return answer
        if getattr(answer, "code", 0) == 404 and key == "name":
            return []  # a server without terminals
        raise answer

    def jupyter(self, url: str, token: str, must_answer: bool) -> None:
        """Kernels that work or did, terminals that were used, open connections."""
        try:
            kernels = self.ask(url + "/api/kernels", token, "id")
            terminals = self.ask(url + "/api/terminals", token, "name")
        except Exception as error:
            if must_answer:
                self.doubts.append(f"{url}: {type(error).__name__} {error}")
                self.marks.update({key: value for key, value in self.last.items() if key.startswith(url)})
            return
        for kernel in kernels:
            state, key = kernel.get("execution_state"), f"{url} {kernel['id']}"
            name = f"kernel {kernel.get('name')} ({kernel['id'][:8]})"
            self.open_tab |= bool(kernel.get("connections"))
            used = self.changed(key, kernel.get("last_activity"))
            if state == "busy":
                self.active.append(f"{name} is busy")
            elif used:
                self.active.append(f"{name} was used")
            elif state not in ("idle", "dead", "terminating") and self.within(f"{key} {state}", STARTING_S):
                self.active.append(f"{name} is {state}")
        for terminal in terminals:
            if self.changed(f"{url} terminal {terminal['name']}", terminal.get("last_activity")):
                self.active.append(f"terminal {terminal['name']} was used")

    # --- Processes ---

    def is_ours(self, process: Process) -> bool:
        """Whether it is a program of this project, which begins anew by a timer, whether somebody works or not."""
        return any(word.startswith(f"{self.world.programs}{os.sep}") for word in process.words[1:3])

    def processes(self, servers: list[int]) -> None:
        """Jobs in terminals, processes that compute, transfers that go on, terminals that are typed in."""
        settings = self.world.settings
        known = {key[len("cpu ") :] for key in self.last if key.startswith("cpu ")}
        for process in people(self.world.proc, self.world.home.parent.stat().st_uid, known):
            if process.pid in (os.getpid(), os.getppid()):
                continue
            who, is_server, is_ours = f"{process.name} ({process.pid})", process.pid in servers, self.is_ours(process)
            # Terminals of containers have numbers of their own.
            if process.terminal is not None and not is_server and not process.in_container:
                self.ttys.add(self.world.dev / "pts" / str(process.terminal))
                if not process.waits_at_prompt:
                    self.active.append(f"{who} runs in a terminal")
            # With its children's that ended: a script of many short commands works, though none of them lives until we look.
            percent = 100 / HERTZ * self.rate("cpu " + process.key, process.ticks)
            # Jupyter itself answers to open tabs, which is no work.
            if percent >= settings["cpu_percent"] and not is_server and not is_ours:
                self.active.append(f"{who} uses {percent:.0f} % of a processor")
            try:
                moved = process.moved
            except OSError:
                continue  # another account's: its processor time is what we may see
            # A backup moves more than that; what only looks whether there is anything to do must hold no instance.
            speed = self.rate("io " + process.key, max(0, moved - STARTING_BYTES) if is_ours else moved) / 1000
            if speed >= settings["transfer_kilobytes_per_second"]:
                if is_server:
                    # A download by the browser; or a tab that asks for its folder of thousands of files all the time.
                    self.open_tab = True
                else:
                    self.active.append(f"{who} moves {speed:.0f} kB/s")
        for terminal in self.ttys:
            try:
                stat = terminal.stat()
            except OSError:
                continue  # closed
            if self.changed(str(terminal), [stat.st_mtime_ns, stat.st_atime_ns]):
                self.active.append(f"{terminal} was used")

    # --- Files ---

    def files(self) -> None:
        """Files that somebody saves: who writes text for an hour runs no cell. And JupyterLab's layout, saved when it changes."""
        checksum, seen = 0, 0
        for top in (self.world.workspaces, self.world.home.parent):
            folders = [top]
            for folder in folders:
                try:
                    for path in sorted(folder.iterdir()):
                        stat = path.lstat()
                        seen += 1
                        # Hidden: caches, checkpoints, ours. On another device: shared with people elsewhere.
                        if path.name.startswith(".") or path == self.world.warning or stat.st_dev != top.stat().st_dev:
                            continue
                        if S_ISDIR(stat.st_mode):
                            folders.append(path)
                        elif S_ISREG(stat.st_mode):
                            one = f"{path} {stat.st_mtime_ns} {stat.st_size}"
                            checksum = zlib.crc32(one.encode(errors="replace"), checksum)
                except OSError:
                    continue  # gone, or not for us to read
                if seen > FILES:
                    break
        if self.changed("files", checksum):
            self.active.append("a file was saved")

    def steps(self) -> None:
        """Steps of the lifecycle config that run in the background: an instance that is being prepared is not idle."""
        try:
            steps = json.loads((self.world.home / "status.json").read_text())["steps"]
            running = [name for name in steps if steps[name]["state"] == "running"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        for name in running:
            if self.within("step " + name, STEP_S):
                self.active.append(f"the step {name} runs")
