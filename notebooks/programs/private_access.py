"""Fetches a user name and a password from Secrets Manager when they are needed: for git, pip and conda."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit


class NoAccess(Exception):
    """The secret cannot be used; the message says why, and never what is in it."""


def secret_text(arn: str) -> str:
    """The text of a secret, by boto3 or else the AWS command line."""
    region = arn.split(":")[3]
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        return _by_command_line(arn, region)
    patience = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 3})
    try:
        found = boto3.client("secretsmanager", region_name=region, config=patience).get_secret_value(SecretId=arn)
    except Exception as error:
        raise NoAccess(f"the secret {arn} cannot be read: {error}") from error
    return str(found.get("SecretString") or "")


def _by_command_line(arn: str, region: str) -> str:
    command = ["aws", "secretsmanager", "get-secret-value", "--region", region, "--secret-id", arn]
    command += ["--query", "SecretString", "--output", "text"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoAccess(f"the secret {arn} cannot be read: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise NoAccess(f"the secret {arn} cannot be read: {said}")
    return done.stdout.decode()


def credentials(arn: str) -> tuple[str, str]:
    """User name and password of a secret whose text is JSON with `username` and `password`, as SageMaker itself wants it."""
    try:
        found = json.loads(secret_text(arn))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NoAccess(f'the secret {arn} is no JSON like {{"username": "...", "password": "..."}}')
    missing = [key for key in ("username", "password") if not isinstance(found.get(key), str) or not found[key]]
    if missing:
        raise NoAccess(
            f"the secret {arn} has no text under {' and '.join(missing)} "
            f"(its keys: {', '.join(sorted(map(str, found))) or 'none'})"
        )
    username, password = found["username"], found["password"]
    if any(character < " " for character in username + password):
        raise NoAccess(f"the secret {arn} has a line end or another control character in username or password")
    return username, password


def answer_git(arn: str, asked: str) -> str:
    """What git's credential helper prints for `get`; nothing for what is not https.

    https://git-scm.com/docs/git-credential#IOFMT
    """
    request = dict(line.split("=", 1) for line in asked.splitlines() if "=" in line)
    if request.get("protocol") != "https":
        return ""
    username, password = credentials(arn)
    return f"username={username}\npassword={password}\n"


def with_credentials(url: str, access: tuple[str, str]) -> str:
    """An address with user name and password in it, so written that no character of theirs changes it."""
    parts, (username, password) = urlsplit(url), (quote(each, "") for each in access)
    return parts._replace(netloc=f"{username}:{password}@{parts.netloc}").geturl()


def index_files(url: str, secret: str, trusted_host: str, channels: list[str], home: Path) -> dict[Path, str]:
    """The settings of pip and conda, by file.

    What conda has from elsewhere (AWS writes a `.condarc` of its own) stays, but for the channels: `#!final` says that no file
    read later changes them. A channel at another host than the index is written without credentials: they are not its.
    """
    access = credentials(secret) if secret else None
    host = urlsplit(url or channels[0]).hostname

    def placed(place: str) -> str:
        return with_credentials(place, access) if access and urlsplit(place).hostname == host else place

    files: dict[Path, str] = {}
    if url:
        lines = ["[global]", "index-url = " + placed(url)]
        if trusted_host:
            lines.append("trusted-host = " + trusted_host)
        files[home / ".config" / "pip" / "pip.conf"] = "\n".join(lines) + "\n"
    if channels:
        text = "channels: #!final\n" + "".join(f"  - {json.dumps(each)}\n" for each in map(placed, channels))
        files[home / ".conda" / "condarc.d" / "sagestack.yml"] = text
    return files


def write_privately(path: Path, text: str) -> None:
    """Writes a file that nobody else may read, not even while it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    if new.is_symlink() or new.exists():
        new.unlink()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def main(arguments: list[str]) -> int:
    """`git ARN get|store|erase` as git calls it; `index` with INDEX_* in the environment."""
    try:
        if arguments[0] == "git":
            # store and erase: what Secrets Manager has is not git's to change.
            if arguments[2:] == ["get"]:
                sys.stdout.write(answer_git(arguments[1], sys.stdin.read()))
            return 0
        given = {key: os.environ.get("INDEX_" + key, "") for key in ("URL", "SECRET", "TRUSTED_HOST", "CHANNELS")}
        home = Path(os.environ.get("SAGESTACK_USER_HOME", "/home/ec2-user"))
        files = index_files(given["URL"], given["SECRET"], given["TRUSTED_HOST"], given["CHANNELS"].split(), home)
        for path, text in files.items():
            write_privately(path, text)
            print(f"wrote {path}")
    except (NoAccess, OSError) as error:
        print(f"sagestack: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
