"""What processes that stand for the image have as PYTHONPATH."""

from __future__ import annotations

import os
from pathlib import Path

IMAGE_STARTUP = Path(__file__).with_name("image_startup")
"""Comes first in it: see the one file there."""


def python_path(*folders: Path) -> str:
    return os.pathsep.join(map(str, (IMAGE_STARTUP, *folders)))
