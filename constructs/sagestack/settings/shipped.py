"""What ships with botocore: regions, service models. Read without a look at the machine's own AWS settings."""

from __future__ import annotations

import botocore.session


def session() -> botocore.session.Session:
    """A session that no AWS_PROFILE reaches: a synth, and the local cloud, must not fail for a profile that is not there."""
    return botocore.session.Session(session_vars={"profile": (None, None, None, None)})


def partition(region: str) -> str:
    """What the ARNs of a region begin with: aws, aws-cn, aws-us-gov, ...

    Raises:
        botocore.exceptions.UnknownRegionError: there is no such region.
    """
    return str(session().get_partition_for_region(region))
