"""Keeps this notebook instance from stopping by itself for a while: `keep-running 4h`, `keep-running off`, `keep-running`."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def main(words: list[str], home: Path, settings: Path) -> int:
    """Writes, removes or shows the opt-out; returns the exit code."""
    path = home / "keep-running-until"
    match = re.fullmatch(r"(\d{1,6})([mhd])", words[0]) if len(words) == 1 else None
    if not words:
        print(f"It is kept running until {path.read_text().strip()}." if path.exists() else "Nobody keeps it running.")
        print("To keep it running: keep-running 4h (or 90m, 1d). No longer: keep-running off.")
    elif words == ["off"]:
        if path.exists():
            path.unlink()
        print("It stops by itself again.")
    elif match is None:
        print(f"keep-running: {' '.join(words)!r} is no time. Say 4h, 90m, 1d or off.", file=sys.stderr)
        return 2
    else:
        wanted = timedelta(**{UNITS[match[2]]: int(match[1])})
        try:
            hours = float(json.loads(settings.read_text())["opt_out_hours"])
        except (OSError, ValueError, KeyError, TypeError):
            hours = 12.0
        longest = timedelta(hours=hours)
        if wanted > longest:
            print(f"{hours:g} hours is the longest that this instance is kept running.", file=sys.stderr)
            if not hours:
                return 1
        end = datetime.now(timezone.utc) + min(wanted, longest)
        home.mkdir(parents=True, exist_ok=True)
        path.write_text(end.isoformat(timespec="seconds") + "\n")
        print(f"It is kept running until {end:%Y-%m-%d %H:%M} UTC.")
    return 0


if __name__ == "__main__":
    sys.exit(
        main(
            sys.argv[1:],
            Path(os.environ.get("SAGESTACK_HOME", "/home/ec2-user/SageMaker/.sagestack")),
            Path(os.environ.get("SAGESTACK_AUTO_STOP_SETTINGS", Path(__file__).with_name("auto-stop-settings.json"))),
        )
    )
