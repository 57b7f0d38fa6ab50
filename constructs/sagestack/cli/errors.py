"""The one way in which a command says no."""

from __future__ import annotations

import errno
import sys
from typing import Any, Literal

ErrorCode = Literal[
    "settings",
    "usage",
    "set-up",
    "not-running",
    "not-deployed",
    "not-found",
    "refused",
    "busy",
    "deploy-failed",
    "synth-failed",
    "run-failed",
    "model-error",
    "aws",
    "git-host",
    "interrupted",
    "internal",
]
"""What scripts tell errors apart by; the reference lists them, so a code once given keeps its meaning."""

_OF_THE_DISK = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM)
"""What the machine refuses, not we."""
INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 + SIGINT, as shells count."""


class CliError(Exception):
    """A command cannot do what it was asked.

    Args:
        message: what is wrong, where, and the value; one line where possible.
        hint: what to do next, often a command.
        code: stands for the kind of error in `--json`.
        details: more for scripts, put beside the code and the message.
        exit_code: 1, but for what ended with a code of its own.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: ErrorCode = "refused",
        details: dict[str, Any] | None = None,
        exit_code: int = 1,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.details = details or {}
        self.exit_code = exit_code

    def as_json(self) -> dict[str, Any]:
        """The object that stands under `error` in `--json`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, **self.details}


def explained(error: Exception) -> CliError:
    """Any exception, as the error that a person gets to see."""
    if isinstance(error, CliError):
        return error
    from sagestack.settings import SettingsError

    if isinstance(error, SettingsError):
        return CliError("\n".join(error.problems), code="settings")
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        where = f"{error.filename}: " if error.filename else ""
        return CliError(
            f"{where}{error.strerror}.", hint="Sagestack writes into its checkout; see to that it can.", code="set-up"
        )
    return _of_aws(error) or CliError(
        f"{type(error).__name__}: {error}",
        hint="This is a mistake in Sagestack. `sagestack --debug ...` shows where it happened.",
        code="internal",
    )


def _of_aws(error: Exception) -> CliError | None:
    # Whoever raised one of botocore's errors has imported it: a command without AWS does not pay for that.
    exceptions = sys.modules.get("botocore.exceptions")
    if exceptions is None:
        return None
    if isinstance(error, exceptions.ClientError):
        answer = error.response.get("Error", {})
        code = answer.get("Code", "Unknown")
        hint = None
        if code in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"):
            hint = "Renew your AWS credentials (for example `aws sso login`)."
        return CliError(
            f"{error.operation_name} was refused with {code}: {answer.get('Message', 'no message')}",
            hint=hint,
            code="aws",
            details={"aws_code": code, "operation": error.operation_name},
        )
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return CliError(
            f"No AWS credentials: {error}",
            hint="Sign in (for example `aws sso login`) and choose a profile with AWS_PROFILE.",
            code="aws",
        )
    if isinstance(error, exceptions.BotoCoreError | exceptions.HTTPClientError):
        return CliError(f"AWS did not answer: {error}", code="aws")
    return None
