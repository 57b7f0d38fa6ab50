"""The artefact: what training writes, what is read back, and archives that are not what they should be."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray
from xgboost_container import archive
from xgboost_container.artifact import INFO_FILE, MODEL_FILE, SUMMARY_FILE, as_files, read_info
from xgboost_container.contract import UserError

NAMES = ["age", "income", "rooms"]


def _rows() -> NDArray[np.float32]:
    rows = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    rows[::7, 1] = np.nan
    return rows


def _booster(seed: int = 0, **parameters: Any) -> xgboost.Booster:
    rows = _rows()
    data = xgboost.DMatrix(rows, rows[:, 0] + seed, feature_names=NAMES)
    return xgboost.train({"nthread": 1, **parameters}, data, 5)


def _files(count: int = 1, **changes: Any) -> dict[str, bytes]:
    arguments: dict[str, Any] = {
        "sample": _rows()[7],
        "hyperparameters": {"eta": 0.3},
        "data": {"train": {"rows": 200, "files": 1, "sha256": "00", "content_type": "csv"}},
        "metrics": {"train": {"rmse": 0.5, "auc": float("nan")}},
        "rounds": {"trained": 5, "kept": 5},
        "summary": [{"name": "age", "mean": 0.1, "min": float("nan")}],
        **changes,
    }
    return as_files([_booster(seed) for seed in range(count)], **arguments)


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_same_training_gives_the_same_bytes() -> None:
    assert _files() == _files()


def test_one_booster_is_called_as_in_sagemaker_and_k_fold_is_numbered() -> None:
    assert set(_files()) == {MODEL_FILE, INFO_FILE, SUMMARY_FILE}
    assert {f"{MODEL_FILE}-0", f"{MODEL_FILE}-1", f"{MODEL_FILE}-2"} < set(_files(3))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    files = _files(2)
    info = read_info(_write(tmp_path, files))

    assert info is not None
    assert (info.objective, info.num_class, info.schema.num_features) == ("reg:squarederror", 0, 3)
    assert info.schema.feature_names == tuple(NAMES)
    for model in info.models:
        assert model.sha256 == hashlib.sha256(files[model.file]).hexdigest()
        assert model.rounds == 5
    row = _rows()[7:8]
    assert np.array_equal(info.sample.row(), row, equal_nan=True)
    assert info.sample.features[1] is None
    scores = [_booster(seed).predict(xgboost.DMatrix(row, feature_names=NAMES))[0] for seed in range(2)]
    assert info.sample.prediction == pytest.approx(np.mean(scores), rel=1e-6)


def test_what_is_no_finite_number_is_null_in_the_files() -> None:
    files = _files()

    assert json.loads(files[INFO_FILE])["metrics"]["train"] == {"rmse": 0.5, "auc": None}
    assert json.loads(files[SUMMARY_FILE])["columns"][0]["min"] is None


def test_a_sample_row_of_another_width_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="2 values, the model 3 features"):
        _files(sample=[1.0, 2.0])


def test_boosters_of_different_objectives_are_no_ensemble() -> None:
    with pytest.raises(ValueError, match="differ"):
        as_files(
            [_booster(), _booster(objective="reg:absoluteerror")],
            sample=[0, 0, 0],
            hyperparameters={},
            data={},
            metrics={},
            rounds={},
            summary=[],
        )


def test_a_folder_without_info_has_none(tmp_path: Path) -> None:
    assert read_info(tmp_path) is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 1, "format must be 2"),
        ("objective", None, "objective must be a text, it is null"),
        ("num_class", -1, "num_class must be a whole number of at least 0, it is -1"),
        ("num_features", True, "num_features must be a whole number of at least 1, it is true"),
        ("num_features", 4, "feature_names must be null or a list of 4 texts"),
        ("feature_names", ["a", "b", 3], "feature_names must be null or a list of 3 texts"),
        ("models", [], "models must name at least one model file"),
        ("models", [{"file": "../x", "sha256": "0" * 64, "rounds": 1}], r"models\[0\].file must be the name of a file"),
        ("models", [{"file": "x", "sha256": "zz", "rounds": 1}], r"models\[0\].sha256 must be 64 hexadecimal digits"),
        ("models", ["x"], r"models\[0\].file must be a text, it is missing"),
        ("sample", {"features": [1, 2], "prediction": 1}, "sample.features must be a list of 3 numbers or nulls"),
        (
            "sample",
            {"features": [1, 2, 3], "prediction": []},
            "sample.prediction must be a number or a list of numbers",
        ),
        ("sample", {"features": [1, 2, 3], "prediction": float("nan")}, "sample.prediction must be a number"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, key: str, value: object, message: str) -> None:
    info = {**json.loads(_files()[INFO_FILE]), key: value}
    (tmp_path / INFO_FILE).write_text(json.dumps(info))

    with pytest.raises(UserError, match=message) as refusal:
        read_info(tmp_path)
    assert str(refusal.value).startswith(str(tmp_path / INFO_FILE))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'"' + b"[" * 100_000, b"[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / INFO_FILE).write_bytes(content)

    with pytest.raises(UserError, match=INFO_FILE):
        read_info(tmp_path)


def _archive(path: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for member, content in members:
            entry = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            if entry.isreg():
                entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    return path


def _special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_model_comes_out_of_an_archive_as_out_of_a_folder(tmp_path: Path, prefix: str) -> None:
    members = [(prefix + name, content) for name, content in _files().items()]
    path = _archive(tmp_path / "model.tar.gz", *members, (f"{prefix}code/inference.py", b"raise SystemExit"))

    model = archive.load(path)

    expected = _booster().predict(xgboost.DMatrix(_rows(), feature_names=NAMES))
    assert np.array_equal(model.predict(_rows()), expected)
    assert list(tmp_path.iterdir()) == [path]  # nothing is extracted


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("/etc/cron.d/x", "'/etc/cron.d/x' is an absolute path"),
        ("../x", "'../x' leads out of the archive"),
        ("code/../../x", "leads out of the archive"),
        (_special("xgboost-model", tarfile.SYMTYPE, "/etc/passwd"), "is a link, to '/etc/passwd'"),
        (_special("xgboost-model", tarfile.LNKTYPE, "/etc/passwd"), "is a link, to '/etc/passwd'"),
        (_special("xgboost-model", tarfile.CHRTYPE), "is a device"),
        (_special("xgboost-model", tarfile.FIFOTYPE), "is a device or another special file"),
        ("xgboost-model", "'xgboost-model' is in the archive twice"),
    ],
)
def test_a_member_that_could_do_harm_is_refused_by_name(
    tmp_path: Path, member: tarfile.TarInfo | str, message: str
) -> None:
    path = _archive(tmp_path / "model.tar.gz", *_files().items(), (member, b"x"))

    with pytest.raises(UserError, match=message) as refusal:
        archive.load(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_member_that_says_it_is_huge_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("xgboost-model")
    header.size = 2 * 1024**3
    path = tmp_path / "model.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf()))

    with pytest.raises(UserError, match="'xgboost-model' has 2147483648 bytes, at most 1073741824"):
        archive.load(path)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_an_archive_that_is_cut_is_refused(tmp_path: Path, kept: float) -> None:
    path = _archive(tmp_path / "model.tar.gz", *_files().items())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])

    with pytest.raises(UserError, match="upload it again"):
        archive.load(path)


def test_an_archive_with_flipped_bytes_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "model.tar.gz", *_files().items())
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[random.integers(64, len(whole))] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(damaged)
        with pytest.raises(UserError) as refusal:
            archive.load(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this file is empty"),
        (b"PK\x03\x04", "this file is no gzip"),
        (gzip.compress(b"not a tar at all" * 100, mtime=0), "not a readable tar in gzip"),
        (gzip.compress(b"", mtime=0), "not a readable tar in gzip"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(content)

    with pytest.raises(UserError, match=message):
        archive.load(path)


def test_an_archive_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the model archive is not there"):
        archive.load(tmp_path / "model.tar.gz")


def test_an_archive_without_a_model_says_what_is_in_it(tmp_path: Path) -> None:
    path = _archive(tmp_path / "model.tar.gz", ("readme.txt", b"hello"), ("weights.h5", b"x"))

    with pytest.raises(UserError, match=r"no XGBoost model|no model.*weights\.h5"):
        archive.load(path)
