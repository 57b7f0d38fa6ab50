"""How many processors an instance type has, which SageMaker's CPU metrics must be divided by."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(?P<times>\d*)xlarge")
_SMALL_SIZES = {"medium": 2, "large": 2}
_EXCEPTIONS = {"ml.c4.8xlarge": 36}


def vcpus(instance_type: str) -> int | None:
    """The virtual processors of an instance; None where its name does not say.

    EC2 gives a `large` two and an `xlarge` four, and a multiple of `xlarge` that many times four; SageMaker's types are
    EC2's with `ml.` before them: https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html
    """
    if instance_type in _EXCEPTIONS:
        return _EXCEPTIONS[instance_type]
    family, _, size = instance_type.removeprefix("ml.").rpartition(".")
    if size == "medium" and not family.startswith("t"):
        return 1
    if size in _SMALL_SIZES:
        return _SMALL_SIZES[size]
    match = _SIZE.fullmatch(size)
    return 4 * int(match["times"] or 1) if match else None
