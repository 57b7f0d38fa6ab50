"""What the environment variables say about serving, checked before anything starts.

Names, meanings and defaults are those of SageMaker's own XGBoost container and of "Custom Inference Code with Hosting
Services", "... with Batch Transform" and "Host Multiple Models in One Container" in the Amazon SageMaker AI Developer
Guide. Those that it lacks are marked as ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..contract import UserError, log
from ..machine import memory_limit, usable_cpus

if TYPE_CHECKING:
    from .selection import Selection

MIB = 1024**2
DEFAULT_CONTENT_LENGTH = 6 * MIB
# SageMaker's container takes no more either, whatever the variable says.
LARGEST_CONTENT_LENGTH = 20 * MIB

_TRUE = frozenset(("true", "1", "yes", "on"))
_FALSE = frozenset(("false", "0", "no", "off"))


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes:
        host: SAGEMAKER_BIND_TO_HOST (ours). All addresses: hosting asks from outside the container.
        port: SAGEMAKER_BIND_TO_PORT. 8080; 0 takes a free one, which the log names.
        max_content_length: MAX_CONTENT_LENGTH, in bytes. 6 MiB, at most 20 MiB.
        batch: SAGEMAKER_BATCH. Whether a batch transform asks, which wants one prediction per line of CSV.
        inference_output: SAGEMAKER_INFERENCE_OUTPUT. What an answer holds; the prediction alone where it is unset.
        ensemble: SAGEMAKER_INFERENCE_ENSEMBLE. Whether all models of a k-fold training answer together, or the first one.
        default_accept: SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT. The answer's type where a request names none.
        workers: SAGEMAKER_MODEL_SERVER_WORKERS. Processes; one for each CPU that this container may use.
        multi_model: SAGEMAKER_MULTI_MODEL. Whether models come by `POST /models` instead of from /opt/ml/model.
        model_cache_bytes: SAGEMAKER_MODEL_CACHE_BYTES (ours). What the models of a multi-model endpoint may take together; half
            of the container's memory.
        request_seconds: SAGEMAKER_MODEL_SERVER_TIMEOUT. How long a request may take to come in; 60, after which SageMaker
            gives up on an invocation.
    """

    host: str = "0.0.0.0"  # noqa: S104
    port: int = 8080
    max_content_length: int = DEFAULT_CONTENT_LENGTH
    batch: bool = False
    inference_output: Selection | None = None
    ensemble: bool = True
    default_accept: str = "text/csv"
    workers: int = 1
    multi_model: bool = False
    model_cache_bytes: int = 1024 * MIB
    request_seconds: int = 60

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Settings:
        """Read and check all of them.

        Raises:
            UserError: a variable has a value that means nothing here; the message names it and what is allowed.
        """
        from .accept import negotiate
        from .request_error import RequestError

        if variables.get("SAGEMAKER_PROGRAM"):
            raise UserError(
                f"SAGEMAKER_PROGRAM is {variables['SAGEMAKER_PROGRAM']!r}: this image runs no script to serve. "
                "Leave the variable out; what a script would change belongs into preprocess, or into an image of your own"
            )
        multi_model = _flag(variables, "SAGEMAKER_MULTI_MODEL", default=False)
        workers = _number(variables, "SAGEMAKER_MODEL_SERVER_WORKERS", default=0, smallest=1, largest=256)
        if multi_model and workers > 1:
            raise UserError(
                f"SAGEMAKER_MODEL_SERVER_WORKERS is {workers}: a multi-model endpoint runs in one process, which uses all CPUs, "
                "because a model that one process has loaded would be unknown to the others. Leave the variable out"
            )
        max_content_length = _number(
            variables, "MAX_CONTENT_LENGTH", default=DEFAULT_CONTENT_LENGTH, smallest=1, largest=None
        )
        if max_content_length > LARGEST_CONTENT_LENGTH:
            log(f"MAX_CONTENT_LENGTH is {max_content_length}: taken as {LARGEST_CONTENT_LENGTH}, the most there is")
            max_content_length = LARGEST_CONTENT_LENGTH
        default_accept = variables.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or cls.default_accept
        try:
            default_accept = negotiate(default_accept, cls.default_accept)
        except RequestError as error:
            raise UserError(f"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT is {default_accept!r}: {error}") from error
        return cls(
            host=variables.get("SAGEMAKER_BIND_TO_HOST") or cls.host,
            port=_number(variables, "SAGEMAKER_BIND_TO_PORT", default=cls.port, smallest=0, largest=65535),
            max_content_length=max_content_length,
            batch=_flag(variables, "SAGEMAKER_BATCH", default=False),
            inference_output=_selection(variables.get("SAGEMAKER_INFERENCE_OUTPUT")),
            ensemble=_flag(variables, "SAGEMAKER_INFERENCE_ENSEMBLE", default=True),
            default_accept=default_accept,
            workers=1 if multi_model else workers or usable_cpus(),
            multi_model=multi_model,
            model_cache_bytes=_number(variables, "SAGEMAKER_MODEL_CACHE_BYTES", default=0, smallest=1, largest=None)
            or memory_limit() // 2,
            request_seconds=_number(
                variables, "SAGEMAKER_MODEL_SERVER_TIMEOUT", default=cls.request_seconds, smallest=1, largest=3600
            ),
        )


def _number(variables: Mapping[str, str], name: str, *, default: int, smallest: int, largest: int | None) -> int:
    text = variables.get(name)
    if not text:
        return default
    # Length first: int() itself refuses thousands of digits, with words of its own.
    bounds = f"from {smallest} to {largest}" if largest is not None else f"of at least {smallest}"
    is_number = text.isascii() and text.isdigit() and len(text) <= 20
    if not is_number or int(text) < smallest or (largest is not None and int(text) > largest):
        raise UserError(f"{name} must be a whole number {bounds}, got {text[:40]!r}")
    return int(text)


def _flag(variables: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = variables.get(name)
    if not text:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise UserError(f"{name} must be true or false, got {text[:40]!r}")


def _selection(text: str | None) -> Selection | None:
    if not text:
        return None
    from .selection import Selection  # with numpy, which would keep the port closed for longer

    return Selection.parse(text)
