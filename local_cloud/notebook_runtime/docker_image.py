"""The image of notebook instances: built once from `image/` and the notebooks' requirements, and kept by their content."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors

from local_cloud.containers import images
from local_cloud.containers.docker_engine import BUILD_LINES_SHOWN, LABEL, BuildFailed, build_lines
from local_cloud.notebook_runtime.runtime import RuntimeRefused

logger = logging.getLogger(__name__)

IMAGE = Path(__file__).with_name("image")
SUPERVISOR = Path(__file__).with_name("supervisor")
REQUIREMENTS = Path(__file__).parents[2] / "requirements-notebook.txt"
REPOSITORY = "sagestack-local-cloud-notebook"
LABELS = {LABEL: REPOSITORY, f"{LABEL}.folder": hashlib.sha256(str(REQUIREMENTS.parent).encode()).hexdigest()[:16]}
"""On each image: that it is of notebook instances, and from which folder of the project it was built."""
USER_ID = 1000
"""ec2-user's number on an instance, and here where root runs the local cloud, or the engine has a machine of its own."""
JUPYTER = (
    # A login shell, because an instance's JupyterLab has what lifecycle scripts leave in /etc/profile.d.
    "/bin/bash",
    "-lc",
    'PATH=/home/ec2-user/anaconda3/envs/JupyterSystemEnv/bin:$PATH exec jupyter-lab "$@"',
    "jupyter-lab",
)
"""How JupyterLab is started inside; arguments follow."""
_LINUX = platform.system() == "Linux"
_NO_ENGINE = (docker.errors.DockerException, OSError)


class InstanceImage:
    """The image, in one engine.

    Args:
        client: of the engine.
        folder: where builds wait for each other, and put their context.
        files: what the image is made of.
    """

    def __init__(self, client: Any, folder: Path, files: Mapping[str, Path] | None = None) -> None:
        self._client = client
        self._folder = folder
        self._files = context() if files is None else files
        self._user_id = (os.getuid() or USER_ID) if _LINUX else USER_ID

    @property
    def tag(self) -> str:
        """Its name in the engine, by all that goes into it."""
        return f"{REPOSITORY}:{content_digest(self._files, self._user_id)}"

    def ensure(self, on_line: Callable[[str], None]) -> str:
        """The image's id; it is built where the engine does not have it, and the build's lines are passed on.

        Raises:
            RuntimeRefused: it cannot be built; the message ends with the last lines of the build.
        """
        tag = self.tag
        reference = self._id_of(tag)
        if reference is None:
            marker = self._folder / tag.replace(":", "-")
            # The engine forgets images (docker image prune), so its own answer counts, not our marker.
            (marker / images.COMPLETE).unlink(missing_ok=True)
            images.built(marker, lambda: self._build(tag, on_line), on_line, "the image of notebook instances")
            reference = self._id_of(tag)
            self._prune()
        if reference is None:
            raise RuntimeRefused(
                f"The image of notebook instances was built, but the engine does not have it as {tag}."
            )
        return reference

    def remove_folder(self, folder: Path) -> None:
        """Delete a folder, by root in a container where root wrote something into it and this program is not root."""
        if not folder.exists():
            return
        try:
            shutil.rmtree(folder)
        except PermissionError:
            reference = self.ensure(lambda line: None)
            self._client.containers.run(
                reference,
                command=["rm", "-rf", f"/parent/{folder.name}"],
                volumes={str(folder.resolve().parent): {"bind": "/parent", "mode": "rw"}},
                user="0",
                network_mode="none",
                remove=True,
            )

    def _id_of(self, tag: str) -> str | None:
        try:
            return str(self._client.images.get(tag).id)
        except docker.errors.ImageNotFound:
            return None
        except _NO_ENGINE as error:
            raise RuntimeRefused(f"The container engine does not answer any more: {explained(error)}") from error

    def _build(self, tag: str, on_line: Callable[[str], None]) -> None:
        on_line("Building the image of notebook instances in the Docker engine; it is kept for the next ones")
        last_lines: deque[str] = deque(maxlen=BUILD_LINES_SHOWN)
        try:
            with tempfile.TemporaryDirectory(dir=self._folder) as temporary:
                for name, path in self._files.items():
                    target = Path(temporary) / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, target)
                user = {"EC2_USER_ID": str(self._user_id)}
                for line in build_lines(self._client, Path(temporary), tag, LABELS, user):
                    last_lines.append(line)
                    on_line(line)
        except (*_NO_ENGINE, BuildFailed) as error:
            reason = explained(error)
            hint = ""
            if "no space left on device" in f"{reason} {' '.join(last_lines)}".lower():
                hint = " Make room for the engine (docker system df, docker system prune) and start the instance again."
            tail = "\n".join(last_lines)
            raise RuntimeRefused(
                f"The build of the image of notebook instances failed: {reason}.{hint}\n{tail}"
            ) from error

    def _prune(self) -> None:
        """Remove the images that the one of this version replaces, of those that were built from this folder of the project.

        Another folder may hold another version, which is not replaced. What a container still uses is left.
        """
        for tag in self._replaced():
            try:
                self._client.images.remove(tag)
                logger.info("Removed the image of notebook instances that this version replaces: %s", tag)
            except _NO_ENGINE as error:
                logger.info("%s, which this version replaces, is left: %s", tag, explained(error))

    def _replaced(self) -> list[str]:
        ours = [f"{key}={value}" for key, value in LABELS.items()]
        try:
            found = self._client.images.list(filters={"label": ours})
        except _NO_ENGINE:
            return []
        tags = [tag for image in found for tag in image.tags]
        return [tag for tag in tags if tag.startswith(f"{REPOSITORY}:") and tag != self.tag]


def context() -> dict[str, Path]:
    """What the image is made of, by the name in the build's context: `image/`, the supervisor, the notebooks' requirements."""
    found = {str(path.relative_to(IMAGE)): path for path in _files_below(IMAGE)}
    found |= {f"supervisor/{path.relative_to(SUPERVISOR)}": path for path in _files_below(SUPERVISOR)}
    return {**found, REQUIREMENTS.name: REQUIREMENTS}


def _files_below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def content_digest(files: Mapping[str, Path], user_id: int) -> str:
    """What the image is made of, in 32 hex digits."""
    digest = hashlib.sha256(f"{user_id}\n".encode())
    for name, path in sorted(files.items()):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:32]


def explained(error: Exception) -> str:
    """What the engine said."""
    return str(getattr(error, "explanation", None) or error).rstrip(".")
