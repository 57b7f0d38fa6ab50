"""A model folder: found, proven and loaded, or refused in one line; and damage never ends the process that loads it."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray
from xgboost_container.artifact import INFO_FILE, MODEL_FILE, as_files
from xgboost_container.contract import UserError
from xgboost_container.model_files import LARGEST_MODEL
from xgboost_container.prediction.probe import probe
from xgboost_container.prediction.structure import Broken, check
from xgboost_container.serving import model as serving_model
from xgboost_container.serving.model import load

PACKAGES = Path(serving_model.__file__).parents[2]


def _rows() -> NDArray[np.float32]:
    rows = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    rows[::7, 1] = np.nan
    return rows


def _booster(seed: int = 0, rounds: int = 6, **parameters: Any) -> xgboost.Booster:
    rows = _rows()
    labels: NDArray[Any] = rows[:, 0] + seed
    if parameters.get("objective") in ("multi:softmax", "binary:hinge"):
        labels = np.digitize(np.roll(rows[:, 0], seed), [0, 0.7][: parameters.get("num_class", 2) - 1])
    return xgboost.train({"nthread": 1, **parameters}, xgboost.DMatrix(rows, labels), rounds)


def _raw(booster: xgboost.Booster, kind: str = "ubj") -> bytes:
    return bytes(booster.save_raw(kind))


def _artifact(folder: Path, *boosters: xgboost.Booster) -> Path:
    files = as_files(
        boosters, sample=_rows()[7], hyperparameters={}, data={}, metrics={}, rounds={}, summary={"columns": []}
    )
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _predicted(booster: xgboost.Booster) -> NDArray[np.float32]:
    return np.asarray(booster.predict(xgboost.DMatrix(_rows())))


def _refused(folder: Path, *, ensemble: bool = True) -> str:
    with pytest.raises(UserError) as refusal:
        load(folder, ensemble=ensemble)
    message = str(refusal.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


def _change_info(folder: Path, **changes: object) -> None:
    info = json.loads((folder / INFO_FILE).read_text())
    (folder / INFO_FILE).write_text(json.dumps({**info, **changes}))


def test_what_training_wrote_is_loaded_without_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_model, "probe", lambda *_: pytest.fail("a model with a fingerprint needs no trial"))
    model = load(_artifact(tmp_path, _booster()))

    assert np.array_equal(model.predict(_rows()), _predicted(_booster()))
    assert (model.objective, model.num_class, model.schema.num_features) == ("reg:squarederror", 0, 4)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("xgboost-model", "ubj"),  # what SageMaker's own container leaves
        ("xgboost-model", "json"),
        ("model.ubj", "ubj"),
        ("model.json", "json"),
        ("model.json", "ubj"),  # the content decides, not the name
        ("my.model", "json"),
    ],
)
def test_a_model_from_elsewhere_is_loaded_after_a_trial(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(_raw(_booster(), kind))
    (tmp_path / "code").mkdir()
    (tmp_path / "metrics.txt").write_text("other files are left alone")
    if name != "model.json":
        (tmp_path / "columns.json").write_text('["age"]')

    assert np.array_equal(load(tmp_path).predict(_rows()), _predicted(_booster()))


@pytest.mark.long
def test_k_fold_is_scored_by_the_mean_or_by_its_first_model(tmp_path: Path) -> None:
    boosters = [_booster(seed) for seed in range(3)]
    _artifact(tmp_path, *boosters)
    mean = np.mean([_predicted(booster) for booster in boosters], axis=0, dtype=np.float64)

    for folder_has_info in (True, False):
        if not folder_has_info:
            (tmp_path / INFO_FILE).unlink()
        assert np.allclose(load(tmp_path).predict(_rows()), mean, rtol=1e-6, atol=1e-7)
        assert np.allclose(load(tmp_path).margin(_rows()), mean, rtol=1e-6, atol=1e-7)
        assert np.array_equal(load(tmp_path, ensemble=False).predict(_rows()), _predicted(boosters[0]))


@pytest.mark.parametrize("parameters", [{"objective": "binary:hinge"}, {"objective": "multi:softmax", "num_class": 3}])
def test_k_fold_of_classes_is_scored_by_the_majority(tmp_path: Path, parameters: dict[str, Any]) -> None:
    boosters = [_booster(seed, **parameters) for seed in range(3)]
    votes = np.stack([_predicted(booster) for booster in boosters]).astype(int)
    majority = [np.bincount(column).argmax() for column in votes.T]

    prediction = load(_artifact(tmp_path, *boosters)).predict(_rows())

    assert prediction.tolist() == majority
    assert any(len(set(column)) > 1 for column in votes.T)


def test_the_boosters_of_an_ensemble_must_be_alike(tmp_path: Path) -> None:
    (tmp_path / f"{MODEL_FILE}-0").write_bytes(_raw(_booster()))
    (tmp_path / f"{MODEL_FILE}-1").write_bytes(_raw(_booster(objective="reg:absoluteerror")))

    assert f"{MODEL_FILE}-1: has another objective than {MODEL_FILE}-0" in _refused(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no model: it needs the file xgboost-model, and there is nothing"),
        (["readme.md", "weights.h5"], "there is readme.md, weights.h5"),
        (["a.ubj", "b.ubj"], "several models, a.ubj, b.ubj"),
        (["xgboost-model", "xgboost-model-0"], "several models, xgboost-model, xgboost-model-0"),
        (["xgboost-model-0", "xgboost-model-2"], "the ensemble lacks xgboost-model-1"),
    ],
)
def test_a_folder_that_is_not_clear_says_what_is_in_it(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(_raw(_booster()))

    assert message in _refused(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "the model's folder is not there" in _refused(tmp_path / "absent")


def _legacy_binary() -> bytes:
    """XGBoost's format before JSON: 136 bytes of parameters, the objective, the booster."""
    names = b"".join(struct.pack("<Q", len(name)) + name for name in (b"binary:logistic", b"gbtree"))
    return struct.pack("<fI", 0.5, 4).ljust(136, b"\0") + names + bytes(200)


FOREIGN: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "the model file is empty", ""),
    "binf": (b"binf" + _legacy_binary(), "old binary format", "pip install 'xgboost==2.1.4'"),
    "binary": (_legacy_binary(), "old binary format", "save_model('xgboost-model.ubj')"),
    "base64": (b"bs64\tAAAA", "old base64 format", "pip install 'xgboost==2.1.4'"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "a gzip file, as joblib writes pickles", "joblib.load('xgboost-model')"),
    "zlib": (b"\x78\x9crest", "a zlib file, as joblib writes pickles", "joblib.load('xgboost-model')"),
    "xz": (b"\xfd7zXZ\x00rest", "an? xz file", "joblib.load"),
    "onnx": (b"\x08\x08\x12\x0aonnx-maker", "an ONNX model", "save_model('xgboost-model.ubj')"),
    "zip": (b"PK\x03\x04", "a zip archive", ""),
    "text dump": (b"booster[0]:\n0:[f0<1]", "a text dump", "save_model('xgboost-model.ubj')"),
    "other": (b"\x89HDF\r\n", "no XGBoost model that we know", "save_model('xgboost-model.ubj')"),
    **{
        f"pickle {protocol}": (
            pickle.dumps(_booster(rounds=1), protocol),
            "a Python pickle",
            "pickle.load(open('xgboost-model', 'rb')).save_model('xgboost-model.ubj')",
        )
        for protocol in range(6)
    },
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_another_format_is_named_with_the_way_to_convert_it(tmp_path: Path, kind: str) -> None:
    content, what, remedy = FOREIGN[kind]
    (tmp_path / MODEL_FILE).write_bytes(content)

    message = _refused(tmp_path)

    assert message.startswith(f"{MODEL_FILE}: ")
    assert what.replace("an? ", "") in message
    assert remedy in message


def test_a_pickle_under_its_own_name_is_told_how_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({}))

    assert "model.pkl: is a Python pickle" in _refused(tmp_path)


class _Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", [MODEL_FILE, "model.json", "model.pkl", INFO_FILE])
def test_a_pickle_never_runs(tmp_path: Path, protocol: int, name: str) -> None:
    folder, trace = tmp_path / "model", tmp_path / "trace"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps(_Bomb(trace), protocol))

    _refused(folder)

    assert not trace.exists()
    pickle.loads((folder / name).read_bytes())  # it is live
    assert trace.exists()


def test_a_model_that_is_not_the_recorded_one_is_refused(tmp_path: Path) -> None:
    _artifact(tmp_path, _booster())
    (tmp_path / MODEL_FILE).write_bytes(_raw(_booster(1)))

    assert "its SHA-256 is" in _refused(tmp_path)


def test_a_recorded_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    _artifact(tmp_path, _booster())
    (tmp_path / MODEL_FILE).unlink()

    assert f"{INFO_FILE} names {MODEL_FILE}, and there is data-summary.json, {INFO_FILE}" in _refused(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "count:poisson"}, "its objective is reg:squarederror, model-info.json says count:poisson"),
        ({"num_class": 3}, "its num_class is 0, model-info.json says 3"),
        ({"feature_names": ["a", "b", "c", "d"]}, "its feature_names is None, model-info.json says ('a', 'b'"),
        ({"feature_types": ["c"] * 4}, "its feature_types is None"),
        ({"sample": {"features": [0, 0, 0, 0], "prediction": 123}}, "scores the sample row"),
        ({"sample": {"features": [0, 0, 0, 0], "prediction": [1, 2]}}, "model-info.json says 1, 2"),
    ],
)
def test_info_that_does_not_belong_to_the_model_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    _change_info(_artifact(tmp_path, _booster()), **changes)

    assert message in _refused(tmp_path)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "elsewhere").write_bytes(_raw(_booster()))
    (folder / MODEL_FILE).symlink_to(tmp_path / "elsewhere")

    assert "is a link that leads out of the model's folder" in _refused(folder)

    (folder / MODEL_FILE).unlink()
    (folder / MODEL_FILE).symlink_to(MODEL_FILE)
    assert "is a link to itself" in _refused(folder)


def test_a_link_within_the_folder_and_a_folder_that_is_a_link_are_followed(tmp_path: Path) -> None:
    folder, link = tmp_path / "model", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    (folder / ".v1").write_bytes(_raw(_booster()))
    (folder / MODEL_FILE).symlink_to(".v1")

    assert np.array_equal(load(link).predict(_rows()), _predicted(_booster()))


def test_a_file_that_is_too_large_or_no_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / MODEL_FILE).open("wb") as file:
        file.truncate(LARGEST_MODEL + 1)
    assert f"at most {LARGEST_MODEL} are read" in _refused(tmp_path)

    (tmp_path / MODEL_FILE).unlink()
    os.mkfifo(tmp_path / MODEL_FILE)  # to read it would wait for ever
    assert "is not a plain file" in _refused(tmp_path)


@pytest.mark.parametrize("kept", [1, 2, 100, 0.5, -1])
def test_a_model_that_is_cut_is_refused(tmp_path: Path, kept: float) -> None:
    content = _raw(_booster())
    (tmp_path / MODEL_FILE).write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else int(kept)])

    assert "save_model('xgboost-model.ubj')" in _refused(tmp_path)


# Of 400 bits for each booster, some that end XGBoost 3.2.0 with SIGSEGV where it loads and scores on its own.
DEADLY_BITS = {
    "gbtree": [(2868, 3), (4179, 1), (1237, 4)],
    "dart": [(2937, 2), (4244, 1), (2462, 4)],
    "gblinear": [(460, 7), (332, 6), (6, 5)],
}


@pytest.mark.long
@pytest.mark.parametrize("booster", DEADLY_BITS)
def test_flipped_bits_never_end_the_process_that_loads(tmp_path: Path, booster: str) -> None:
    content = _raw(_booster(rounds=3, booster=booster))
    random = np.random.default_rng(len(booster))
    flips = [[bit] for bit in DEADLY_BITS[booster]]
    flips += [list(zip(random.integers(0, len(content), 3), random.integers(0, 8, 3), strict=True)) for _ in range(3)]
    refused = []
    for flip in flips:
        damaged = bytearray(content)
        for position, bit in flip:
            damaged[position] ^= 1 << int(bit)
        (tmp_path / MODEL_FILE).write_bytes(damaged)
        try:
            model = load(tmp_path)
        except UserError:
            refused.append(flip)
        else:  # a number is another one, and nobody can know; what is loaded must stand any row
            model.predict(random.normal(size=(200, model.schema.num_features)).astype(np.float32) * 100)
    assert refused[:3] == flips[:3]


def test_a_trial_that_dies_says_of_what() -> None:
    content = _raw(_booster())
    key = content.index(b"left_children")
    # The length of the array, in eight bytes: all the memory there is.
    damaged = content[: key + 16] + b"\x7f" * 8 + content[key + 24 :]

    with pytest.raises(UserError, match=r"model-7: .*the file is damaged, or no model"):
        probe(damaged, "ubj", "model-7")


def test_a_trial_that_does_not_end_is_ended() -> None:
    with pytest.raises(UserError, match=r"was not done with loading it after 0 s"):
        probe(_raw(_booster()), "ubj", "m", seconds=0.01)


@pytest.mark.parametrize(
    ("key", "index", "value", "message"),
    [
        ("left_children", 0, 99_999, "tree 0, node 0: a child that is not there"),
        ("left_children", 1, 0, "a child that is not there"),
        ("right_children", 0, -1, "tree 0, node 0: has one child"),
        ("right_children", 0, 1, "a node with two parents"),
        ("split_indices", 0, 4, "splits at a feature that is not among the 4"),
    ],
)
def test_an_index_that_leads_nowhere_is_found_before_a_row_follows_it(
    monkeypatch: pytest.MonkeyPatch, key: str, index: int, value: int, message: str
) -> None:
    booster = _booster()
    document = json.loads(_raw(booster, "json"))
    document["learner"]["gradient_booster"]["model"]["trees"][0][key][index] = value
    # Not loaded: to find out what XGBoost does with it is what the child process is for.
    monkeypatch.setattr(booster, "save_raw", lambda _: bytearray(json.dumps(document).encode()))

    with pytest.raises(Broken, match=message):
        check(booster)


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_a_whole_model_holds_together(booster: str) -> None:
    check(_booster(booster=booster))
    check(_booster(booster=booster, objective="multi:softmax", num_class=3))


def test_rounds_after_the_best_one_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    booster = _booster()
    booster.set_attr(best_iteration="2", best_score="0.5")
    load(_artifact(tmp_path, booster))

    assert "its best round is 2 of 0 to 5, and all are used" in capsys.readouterr().out


_RESIDENT = """
import gc, os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from xgboost_container.serving.model import load
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
models = [load(Path(sys.argv[2]))]
gc.collect()
before = resident()
models += [load(Path(sys.argv[2])) for _ in range(10)]
print((resident() - before) / 10, models[0].nbytes)
"""


def test_the_estimate_of_its_memory_is_honest(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(4000, 4)).astype(np.float32)
    data = xgboost.DMatrix(rows, random.normal(size=4000))
    _artifact(tmp_path, xgboost.train({"max_depth": 8, "nthread": 1}, data, 60))

    child = subprocess.run(
        [sys.executable, "-c", _RESIDENT, PACKAGES, tmp_path], capture_output=True, check=True, text=True
    )
    measured, estimate = map(float, child.stdout.split()[-2:])

    assert measured <= estimate <= 3 * measured
