"""Stops this notebook instance when nobody and nothing has worked on it for a while. A timer runs it every minute or two.

Time is counted by the monotonic clock from look to look, so neither a clock that is set nor a suspended machine stops it
too early or keeps it alive. What it decided, and why, is in `.sagestack/auto-stop.json` on the volume. It runs with
the rights of the volume's owner, one at a time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from auto_stop_signs import Look

DEFAULTS: dict[str, float] = {
    "idle_minutes": 60,
    "warn_minutes": 5,
    "opt_out_hours": 12,
    "open_tab_minutes": 120,
    "cpu_percent": 10,
    "transfer_kilobytes_per_second": 50,
}

UNSEEN_S = 300
"""How much of the time between two looks counts as idle at most: what came and went in a longer gap was not seen."""

WARNING = """This notebook instance stops in about {minutes:.0f} minutes (it is {now:%H:%M} UTC): {why}.

To keep it: run a cell, use a terminal, save a file, or delete this one.
To keep it for longer: keep-running 4h (in a terminal).
What is in the folder SageMaker stays. What kernels and terminals hold in memory is lost.
"""


class World:
    """What the program touches. Tests have another."""

    proc, dev = Path(os.environ.get("SAGESTACK_PROC", "/proc")), Path("/dev")
    programs = Path(__file__).parent
    metadata = Path(os.environ.get("SAGESTACK_METADATA", "/opt/ml/metadata/resource-metadata.json"))
    jupyter = "https://localhost:8443"
    timeout_s = 15.0
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        self.home = Path(os.environ.get("SAGESTACK_HOME", "/home/ec2-user/SageMaker/.sagestack"))
        self.warning = self.home.parent / "STOPPING-SOON.txt"
        self.user = Path(os.environ.get("SAGESTACK_USER_HOME", "~")).expanduser()
        self.runtime = self.user / ".local/share/jupyter/runtime"
        self.workspaces = self.user / ".jupyter/lab/workspaces"
        # In memory: a full volume keeps no instance alive, and a machine that starts anew counts anew.
        memory = f"/dev/shm/sagestack-auto-stop-{os.getuid()}.json"  # noqa: S108
        self.state = Path(os.environ.get("SAGESTACK_AUTO_STOP_STATE", memory))
        file = os.environ.get("SAGESTACK_AUTO_STOP_SETTINGS", Path(__file__).with_name("auto-stop-settings.json"))
        self.settings = dict(DEFAULTS)
        self.notes = []
        try:
            self.settings.update({name: float(value) for name, value in json.loads(Path(file).read_text()).items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            # Nothing said is the defaults. What cannot be read must not keep an instance alive either.
            self.notes.append(f"{file}: {error}: the defaults hold")

    def boot(self) -> str:
        """Which start of the machine, or of the container, this is."""
        files = (self.proc / "sys/kernel/random/boot_id", self.proc / "1/stat")
        return " ".join([path.read_text().rpartition(")")[2].split()[index] for path, index in zip(files, (0, 19))])

    def stop(self, name: str, region: str) -> None:
        """Asks SageMaker to stop the instance. Raises whatever went wrong."""
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            command = [
                "aws",
                "sagemaker",
                "stop-notebook-instance",
                "--notebook-instance-name",
                name,
                "--region",
                region,
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            if done.returncode:
                raise OSError(done.stdout.decode(errors="replace")) from None
            return
        config = Config(connect_timeout=10, read_timeout=20, retries={"max_attempts": 2})
        boto3.client("sagemaker", region_name=region, config=config).stop_notebook_instance(NotebookInstanceName=name)


def write(path: Path, text: str) -> str:
    """Returns what went wrong: a full volume must not keep an instance alive."""
    try:
        new = path.with_name(path.name + ".new")
        new.write_text(text)
        new.replace(path)
    except OSError as error:
        return f"{path}: {error}"
    return ""


def remove(path: Path) -> None:
    if path.exists():
        path.unlink()


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def until(text: str, written: float) -> float:
    """When an opt-out ends, in seconds since 1970. Raises ValueError.

    It is `90m`, `8h`, `2d` after it was written, or an ISO time, UTC where it has no zone.
    """
    match = re.fullmatch(r"(\d{1,6})\s*([mhd])", text)
    if match:
        return written + int(match[1]) * {"m": 60, "h": 3600, "d": 86400}[match[2]]
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()


def opt_out(world: World, state: dict[str, Any], elapsed: float) -> tuple[float, str]:
    """For how many seconds more somebody wants it to run, and what is to be said about that.

    The wall clock is looked at once, when the file is new. From then on the monotonic one counts.
    """
    path, known = world.home / "keep-running-until", state.pop("opt_out", None)
    try:
        written, text = path.stat().st_mtime, path.read_text(errors="replace")[:40].strip()
    except OSError:
        return 0, ""
    if known and known[:2] == [text, written]:
        left, note = known[2] - elapsed, known[3]
    else:
        now, note = world.wall(), ""
        written_by = min(written, now)
        try:
            left = until(text, written_by) - now
        except (ValueError, OverflowError):
            return 0, f"keep-running-until says {text!r}, which is no time: write 4h, 90m or 2026-01-31T18:00Z"
        longest = written_by + world.settings["opt_out_hours"] * 3600 - now
        if left > longest:
            left, note = longest, f"keep-running-until holds {world.settings['opt_out_hours']:g} hours at most"
    if left <= 0:
        remove(path)
        return 0, "keep-running-until has ended"
    state["opt_out"] = [text, written, left, note]
    return left, note


def warn(world: World, look: Look, text: str) -> bool:
    """Says it where a person looks: at the top of the file browser and in open terminals. Returns whether the file is there."""
    for tty in look.ttys:
        try:
            device = os.open(tty, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            os.write(device, ("\n" + text).replace("\n", "\r\n").encode())
            os.close(device)
        except OSError:
            continue
    return not write(world.warning, text)


def attempt(world: World, state: dict[str, Any], now: float) -> str:
    """Stops the instance, or returns why it cannot. Tries again after 2, 4, 8 ... 60 minutes."""
    count, again, failure = state.get("attempt", (0, now, ""))
    if now >= again:
        try:
            resource = json.loads(world.metadata.read_text())
            world.stop(resource["ResourceName"], resource["ResourceArn"].split(":")[3])
            failure = ""
        except Exception as error:  # whatever it is: the next attempt may succeed
            failure = f"{type(error).__name__}: {error}"[:600]
            if "AccessDenied" in failure:
                failure += " (the instance's role must allow sagemaker:StopNotebookInstance)"
        state["attempt"] = (count + 1, now + 60 * min(2 ** (count + 1), 60), failure)
    return str(failure)


def run(world: World) -> dict[str, Any]:
    """One look, one decision; returns what it wrote for people."""
    now, boot = world.monotonic(), world.boot()
    try:
        state = json.loads(world.state.read_text())
        known = state["boot"] == boot and state["now"] <= now
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        state = {"now": now}
        remove(world.warning)  # from the last time that the instance ran
    elapsed = now - state["now"]
    left, note = opt_out(world, state, elapsed)
    look = Look(world, state, now)
    if state.get("warned", (0, False))[1] and not world.warning.exists():
        look.active.append(f"{world.warning.name} was deleted")

    quiet = 0 if look.active else state.get("quiet", 0) + min(elapsed, UNSEEN_S)
    idle, tab = world.settings["idle_minutes"], world.settings["open_tab_minutes"]
    limit = 60 * (max(idle, tab) if look.open_tab else idle)
    ahead = min(60 * world.settings["warn_minutes"], limit)
    # Who waits for an answer of a server that has given none for the whole idle time waits for ever.
    doubt = bool(look.doubts) and look.within("doubt", 60 * idle)
    why = look.active[0] if look.active else f"nobody and nothing has worked on it for {quiet / 60:.0f} minutes"
    remaining = max(limit - quiet, left)
    verdict = "in use" if look.active else "kept running" if left > ahead else "idle" if remaining > ahead else ""
    if verdict:
        if state.pop("warned", None):
            remove(world.warning)
        state.pop("attempt", None)
    else:
        verdict = "stopping soon"
        if "warned" not in state:
            text = WARNING.format(minutes=ahead / 60, now=utc(world.wall()), why=why)
            state["warned"] = (now, bool(ahead) and warn(world, look, text))
            if look.ttys:
                # Our own words are no activity: the next look compares with the terminals as they are now.
                world.sleep(1)
                look.marks = Look(world, state, now).marks
        remaining = max(remaining, state["warned"][0] + ahead - now)
        if remaining <= 0 and doubt:
            why += ", but a server did not answer"
        elif remaining <= 0:
            failure = attempt(world, state, now)
            verdict, why = ("cannot stop", failure) if failure else ("stopping", why)

    notes = world.notes + [note] * bool(note)
    report = {
        "state": verdict,
        "why": why,
        "also": look.active[1:],
        "idle_minutes": round(quiet / 60, 1),
        "stops_in_minutes": None if look.active else round(max(remaining, 0) / 60, 1),
        "open_tab": look.open_tab,
        "kept_running_minutes": round(left / 60, 1),
        "could_not_find_out": look.doubts,
        "notes": notes,
        "looked_at": utc(world.wall()).isoformat(timespec="seconds"),
    }
    said = [verdict, look.active[:1], look.doubts, notes, state.get("attempt")]
    if said != state.get("said"):
        print(f"{verdict}: {why}", *look.doubts, *notes, sep="; ")
    state.update(boot=boot, now=now, quiet=quiet, marks=look.marks, since=look.since, said=said)
    for path, value in ((world.home / "auto-stop.json", report), (world.state, state)):
        wrong = write(path, json.dumps(value, indent=1) + "\n")
        if wrong:
            print(wrong)
    return report


def become_owner(world: World) -> None:
    """Takes the rights of whose volume it is: root that writes where a person may put links writes anywhere."""
    owner = world.home.parent.stat()
    if os.getuid() == 0 and owner.st_uid:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
        os.environ["HOME"] = str(world.user)


if __name__ == "__main__":
    become_owner(World())
    run(World())
