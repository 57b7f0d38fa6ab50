"""Copies the project's example notebooks to the volume; what people changed or deleted is theirs and stays as it is.

It remembers what it wrote (`.sagestack/examples.json`): a file that still is what was written is brought up to date, one that
is not is left alone, and so is one that was deleted, unless the whole folder was.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path, PurePosixPath

PATIENCE_S = (2, 5, 15, 30, 60)


def download(url: str, target: str) -> None:
    """Fetches the archive, with boto3 or else with the AWS CLI. Raises what went wrong."""
    try:
        import boto3
    except ImportError:
        subprocess.run(["aws", "s3", "cp", "--quiet", url, target], check=True, timeout=300)
        return
    bucket, _, key = url[len("s3://") :].partition("/")
    boto3.client("s3").download_file(bucket, key, target)


def copy(archive: zipfile.ZipFile, folder: Path, memory: Path) -> dict[str, int]:
    """Writes what may be written, and says how many files were new, updated, unchanged and left alone."""
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict) or not folder.exists():
        known = {}
    counts = {"new": 0, "updated": 0, "unchanged": 0, "left alone": 0}
    for info in archive.infolist():
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or ".." in parts or info.filename.startswith("/"):
            continue
        target, content = folder.joinpath(*parts), archive.read(info)
        digest = hashlib.sha256(content).hexdigest()
        there = hashlib.sha256(target.read_bytes()).hexdigest() if target.is_file() else None
        if there == digest:
            counts["unchanged"] += 1
            known[info.filename] = digest
            continue
        if there != known.get(info.filename) or (there is None and os.path.lexists(target)):
            print(f"left alone, since it was changed or deleted here: {target}", flush=True)
            counts["left alone"] += 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(target.name + ".new")
        new.write_bytes(content)
        new.replace(target)
        counts["new" if there is None else "updated"] += 1
        known[info.filename] = digest
        # At once: a run that is ended in the middle must not take its own files for somebody's.
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return counts


def main() -> int:
    """Copies from `SAGESTACK_EXAMPLES_URL` to `examples` on the volume."""
    volume = Path(os.environ.get("SAGESTACK_VOLUME", "/home/ec2-user/SageMaker"))
    home = Path(os.environ.get("SAGESTACK_HOME", str(volume / ".sagestack")))
    url = os.environ["SAGESTACK_EXAMPLES_URL"]
    with tempfile.TemporaryDirectory() as folder:
        archive = str(Path(folder, "examples.zip"))
        for wait in (*PATIENCE_S, None):
            try:
                download(url, archive)
                break
            except Exception as error:
                print(f"{url}: {type(error).__name__}: {error}", flush=True)
                if wait is None:
                    return 1
                time.sleep(wait)
        with zipfile.ZipFile(archive) as opened:
            counts = copy(opened, volume / "examples", home / "examples.json")
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
