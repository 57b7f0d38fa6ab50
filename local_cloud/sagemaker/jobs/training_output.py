"""What a training job leaves, of all its hosts together: the model and the other output, in S3."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from local_cloud.sagemaker.jobs.job_data import JobData, pack
from local_cloud.sagemaker.jobs.training_hosts import Host

_PLACES = (("model", "model", "model"), ("output/data", "output", "data"))
"""The folder in a container, the name of its archive, and the name of the folder where nothing is packed."""


def upload(
    data: JobData,
    hosts: Sequence[Host],
    config: Mapping[str, str],
    job_name: str,
    scratch: Path,
    note: Callable[[str], None],
    *,
    always: bool,
) -> dict[str, Any]:
    """Upload the model and the other output; what the Describe response gains.

    Args:
        data: S3 with the role's credentials.
        hosts: that left them.
        config: OutputDataConfig.
        job_name: of the job.
        scratch: a folder for the archives.
        note: takes what people should know of it.
        always: also upload a model folder that is empty, as SageMaker does for a job that did not fail.

    Raises:
        DataError: it may not be written.
    """
    prefix = f"{config['S3OutputPath'].rstrip('/')}/{job_name}/output"
    kms_key_id = config["KmsKeyId"] or None
    gained: dict[str, Any] = {}
    for place, archive_name, folder_name in _PLACES:
        is_model = place == "model"
        files = merged([(host.name, host.ml / place) for host in hosts], note)
        if not files and not (is_model and always):
            continue
        if config["CompressionType"] == "NONE":
            uri = f"{prefix}/{folder_name}/"
            data.upload_files(files, uri, kms_key_id)
        else:
            uri = f"{prefix}/{archive_name}.tar.gz"
            archive = scratch / f"{archive_name}.tar.gz"
            pack(files, archive)
            data.upload_file(archive, uri, kms_key_id)
            archive.unlink()
        if is_model:
            gained["ModelArtifacts"] = {"S3ModelArtifacts": uri}
    return gained


def merged(folders: Sequence[tuple[str, Path]], note: Callable[[str], None]) -> dict[str, Path]:
    """What several hosts left in folders of one name, by its path below them.

    SageMaker makes one archive of it and asks that names do not clash (developer guide, "How Amazon SageMaker AI Processes
    Training Output"); where they do, the last host's stands here, and the log says so.
    """
    found: dict[str, Path] = {}
    left_by: dict[str, str] = {}
    for host, folder in folders:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            before = found.get(name)
            if before is not None and not _is_same(before, path):
                note(f"{left_by[name]} and {host} both left {folder.name}/{name}; the one of {host} is kept.")
                if before.is_dir():
                    _drop_below(found, name)
            found[name], left_by[name] = path, host
    return found


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    if one.is_dir() or other.is_dir():
        return one.is_dir() and other.is_dir()
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _drop_below(found: dict[str, Path], name: str) -> None:
    for other in [other for other in found if other.startswith(f"{name}/")]:
        del found[other]
