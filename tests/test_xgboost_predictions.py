"""Scores: equal to `Booster.predict` for every objective and booster, whichever library computes them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import xgboost
import xgboost_container.prediction.gtil as gtil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from xgboost_container.prediction.ensemble import combined
from xgboost_container.prediction.predictor import TOLERANCE, Predictor

from tests.property_tests import examples

OBJECTIVES = [
    "reg:squarederror",
    "reg:logistic",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "reg:gamma",
    "reg:tweedie",
    "reg:squaredlogerror",
    "count:poisson",
    "binary:logistic",
    "binary:logitraw",
    "binary:hinge",
    "multi:softmax",
    "multi:softprob",
    "rank:ndcg",
    "rank:map",
    "rank:pairwise",
    "survival:cox",
    "survival:aft",
]
ROWS, WIDTH = 240, 6


def _table(seed: int, categories: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    if categories:
        rows[:, 0], rows[:, 1] = random.integers(0, categories, ROWS), random.integers(0, 40, ROWS)
    rows[random.random(rows.shape) < 0.15] = np.nan
    return rows


def _types(categories: int) -> list[str] | None:
    return ["c", "c", *["float"] * (WIDTH - 2)] if categories else None


def _train(objective: str, booster: str, seed: int, categories: int, rounds: int, **parameters: Any) -> xgboost.Booster:
    random = np.random.default_rng(seed + 1)
    rows = _table(seed, categories)
    signal = np.nan_to_num(rows) @ random.normal(size=WIDTH) * 0.3
    labels: NDArray[Any] = signal + parameters.pop("shift", 0.0)
    if objective in ("reg:gamma", "reg:tweedie", "reg:squaredlogerror"):
        labels = np.exp(np.clip(signal, -5, 5))
    elif objective == "count:poisson":
        labels = random.poisson(np.exp(np.clip(signal, -3, 3)))
    elif objective == "reg:logistic":
        labels = 1 / (1 + np.exp(-signal))
    elif objective.startswith("binary:") or objective == "rank:map":
        labels = signal > 0
    elif objective.startswith("multi:"):
        labels, parameters["num_class"] = np.digitize(signal, [-0.3, 0.3]), 3
    elif objective == "rank:ndcg" or objective == "rank:pairwise":
        labels = np.digitize(signal, [-0.5, 0, 0.5])
    elif objective == "survival:cox":
        labels = np.where(random.random(ROWS) < 0.3, -1, 1) * np.exp(np.clip(signal, -5, 5))
    elif objective == "reg:quantileerror":
        parameters.setdefault("quantile_alpha", [0.1, 0.5, 0.9])
    data = xgboost.DMatrix(rows, labels, feature_types=_types(categories), enable_categorical=True)
    if objective.startswith("rank:"):
        data.set_group([ROWS // 8] * 8)
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", np.exp(np.clip(signal, -3, 3)))
        data.set_float_info("label_upper_bound", np.exp(np.clip(signal, -3, 3)) + 1)
    if booster == "dart":
        parameters["rate_drop"] = 0.3
    if booster == "gblinear":
        parameters["updater"] = "coord_descent"  # the other one is not the same twice
        parameters.pop("max_depth", None)
    return xgboost.train({"objective": objective, "booster": booster, "nthread": 1, **parameters}, data, rounds)


def _loaded(booster: xgboost.Booster, kind: str = "ubj") -> Predictor:
    return Predictor(bytes(booster.save_raw(kind)), is_json=kind == "json")


def _assert_equal(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore"):
        assert np.all(same | (np.abs(ours - theirs) <= TOLERANCE * np.maximum(1, np.abs(theirs))))


def _assert_scores_as_xgboost(booster: xgboost.Booster, rows: NDArray[np.float32], predictor: Predictor) -> None:
    data = xgboost.DMatrix(rows, feature_types=booster.feature_types, enable_categorical=True)
    _assert_equal(predictor.predict(rows), booster.predict(data))
    _assert_equal(predictor.margin(rows), booster.predict(data, output_margin=True))


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=examples(0.05), derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(draw=st.data())
def test_a_prediction_is_what_booster_predict_says(objective: str, booster: str, draw: st.DataObject) -> None:
    trees = booster != "gblinear"
    categories = draw.draw(st.sampled_from([0, 0, 4, 30]), "categories") if trees else 0
    parameters: dict[str, Any] = {}
    if trees:
        parameters["max_depth"] = draw.draw(st.integers(1, 6), "max_depth")
        parameters["num_parallel_tree"] = draw.draw(st.sampled_from([1, 1, 3]), "num_parallel_tree")
    if categories:
        parameters["max_cat_to_onehot"] = draw.draw(st.sampled_from([1, 50]), "max_cat_to_onehot")
    if objective in ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"):
        # Sums of float32 depend on their order, and this is where it shows.
        parameters["shift"] = draw.draw(st.sampled_from([0.0, 1000.0, -5e6]), "shift")
    elif draw.draw(st.booleans(), "has base_score"):
        parameters["base_score"] = draw.draw(st.sampled_from([0.5, 0.03, 0.97]), "base_score")
    if objective == "reg:quantileerror":
        parameters["quantile_alpha"] = draw.draw(st.sampled_from([[0.5], [0.1, 0.9]]), "quantile_alpha")
    # XGBoost itself trains neither forests nor categories with leaves of several outputs.
    simple = booster == "gbtree" and not categories and parameters["num_parallel_tree"] == 1
    if simple and draw.draw(st.booleans(), "vector leaves"):
        parameters["multi_strategy"] = "multi_output_tree"
    seed, rounds = draw.draw(st.integers(0, 99), "seed"), draw.draw(st.sampled_from([1, 5, 40]), "rounds")
    trained = _train(objective, booster, seed, categories, rounds, **parameters)
    predictor = _loaded(trained, draw.draw(st.sampled_from(["ubj", "json"]), "format"))

    count = draw.draw(st.sampled_from([1, 2, 7, 30, 240]), "rows")
    rows = _table(seed + 1000, categories)[:count]
    if categories:
        rows[0, 0] = draw.draw(st.sampled_from([categories, 39.0, 1000.0, 2.0**24, 2.0**25, 1e30, 2.5, np.nan]), "code")
    rows[-1, -1] = draw.draw(st.sampled_from([np.nan, 0.0, -0.0, 1e38, -1e38, 1e-40]), "value")

    assert predictor.uses_treelite == trees
    _assert_scores_as_xgboost(trained, rows, predictor)


@pytest.mark.parametrize("objective", ["binary:logistic", "reg:squarederror", "multi:softprob"])
def test_few_rows_and_a_batch_give_the_same_scores(objective: str) -> None:
    predictor = _loaded(_train(objective, "gbtree", 3, 0, 40, max_depth=5, shift=1000.0))
    rows = np.concatenate([_table(seed, 0) for seed in range(8)])

    batch = predictor.predict(rows)

    _assert_equal(np.concatenate([predictor.predict(row[None]) for row in rows]), batch)


def test_two_targets_give_two_columns() -> None:
    rows = _table(0, 0)
    labels = np.nan_to_num(rows[:, :2]) + np.array([10, 1000])
    for strategy in ("one_output_per_tree", "multi_output_tree"):
        booster = xgboost.train({"multi_strategy": strategy, "nthread": 1}, xgboost.DMatrix(rows, labels), 20)
        predictor = _loaded(booster)
        assert predictor.uses_treelite
        assert predictor.predict(rows[:1]).shape == (1, 2)
        _assert_scores_as_xgboost(booster, rows[:3], predictor)
        _assert_scores_as_xgboost(booster, rows, predictor)


def test_an_early_stopped_model_uses_all_of_its_rounds_as_booster_predict_does() -> None:
    rows, random = _table(0, 0), np.random.default_rng(0)
    data = xgboost.DMatrix(rows, random.normal(size=ROWS))
    held_out = xgboost.DMatrix(_table(1, 0), random.normal(size=ROWS))
    booster = xgboost.train({"nthread": 1}, data, 60, [(held_out, "v")], early_stopping_rounds=5, verbose_eval=False)
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    predictor = _loaded(booster)

    assert (predictor.best_round, predictor.num_rounds) == (booster.best_iteration, booster.num_boosted_rounds())
    _assert_scores_as_xgboost(booster, rows[:2], predictor)
    best = booster[: booster.best_iteration + 1]
    assert not np.array_equal(_loaded(best).predict(rows[:2]), predictor.predict(rows[:2]))
    _assert_scores_as_xgboost(best, rows[:2], _loaded(best))


def test_treelite_is_not_used_where_it_says_something_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    booster = _train("reg:squarederror", "gbtree", 0, 0, 20)
    honest = gtil.Trees.scores
    monkeypatch.setattr(gtil.Trees, "scores", lambda trees, rows, margin: honest(trees, rows, margin=margin) + 1e-3)

    predictor = _loaded(booster)

    assert not predictor.uses_treelite
    assert "XGBoost scores this model alone" in capsys.readouterr().out
    _assert_scores_as_xgboost(booster, _table(5, 0)[:1], predictor)


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_threads_score_at_the_same_time(booster: str) -> None:
    predictor = _loaded(_train("binary:logistic", booster, 0, 0, 30))
    tables = [_table(seed, 0)[: 1 if seed % 2 else ROWS] for seed in range(6)]
    expected = [predictor.predict(table) for table in tables]
    wrong: list[int] = []

    def score(index: int) -> None:
        for _ in range(60):
            if not np.array_equal(predictor.predict(tables[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=score, args=(index,)) for index in range(len(tables))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("shape", [(1, WIDTH - 1), (1, WIDTH + 1), (WIDTH,), (0, WIDTH + 1)])
def test_rows_of_another_width_are_refused(shape: tuple[int, ...]) -> None:
    predictor = _loaded(_train("reg:squarederror", "gbtree", 0, 0, 3))

    with pytest.raises(ValueError, match=r"the model needs \(n, 6\)"):
        predictor.predict(np.zeros(shape, np.float32))


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
@pytest.mark.parametrize("count", [2, 200])
def test_infinity_is_refused_as_booster_predict_refuses_it(booster: str, count: int) -> None:
    trained = _train("reg:squarederror", booster, 0, 0, 200)
    rows = _table(0, 0)[:count]
    rows[1, 2] = -np.inf

    with pytest.raises(ValueError, match="inf"):
        trained.predict(xgboost.DMatrix(rows))
    with pytest.raises(ValueError, match="row 2, column 3: infinity"):
        _loaded(trained).predict(rows)


def test_rows_in_another_layout_or_type_score_alike() -> None:
    predictor = _loaded(_train("reg:squarederror", "gbtree", 0, 0, 10))
    rows = _table(0, 0)[:4]

    layouts: list[NDArray[Any]] = [np.asfortranarray(rows), rows.astype(np.float64), np.repeat(rows, 2, axis=0)[::2]]
    for other in layouts:
        assert np.array_equal(predictor.predict(other), predictor.predict(rows))


@pytest.mark.parametrize("booster", ["gbtree", "gblinear"])
@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob", "multi:softmax"])
def test_no_rows_give_no_scores(booster: str, objective: str) -> None:
    predictor = _loaded(_train(objective, booster, 0, 0, 3))

    assert predictor.predict(np.zeros((0, WIDTH), np.float32)).size == 0


def test_an_ensemble_of_classes_votes_and_a_tie_goes_to_the_smallest() -> None:
    votes = [np.array(labels, np.float32) for labels in ([0, 2, 1], [1, 2, 1], [1, 0, 0], [0, 2, 2])]

    assert combined(votes, "multi:softmax").tolist() == [0, 2, 1]


def test_an_ensemble_of_scores_is_their_mean() -> None:
    scores = [np.array([[1, 2], [3, 4]], np.float32), np.array([[3, 2], [5, 0]], np.float32)]

    assert combined(scores, "multi:softprob").tolist() == [[2, 2], [4, 2]]
