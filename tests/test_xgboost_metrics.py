"""The metrics of evaluation are scikit-learn's, under the names of SageMaker's model quality reports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from xgboost_container.evaluation import classification, regression
from xgboost_container.evaluation.bootstrap import with_standard_deviation

from tests import second_opinion as sk

Numbers = NDArray[np.float64]

seeds = st.integers(0, 2**32 - 1)
rows = st.integers(1, 200)


def scores_with_ties(generator: np.random.Generator, count: int) -> Numbers:
    return np.round(generator.random(count), 1)


@given(seed=seeds, count=rows)
def test_regression(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=count)
    predicted = truth + generator.normal(size=count)
    found = regression.metrics(truth, predicted)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth, predicted))
    assert found["mse"] == pytest.approx(sk.mean_squared_error(truth, predicted))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, predicted))
    if count > 1:
        assert found["r2"] == pytest.approx(sk.r2_score(truth, predicted))


@pytest.mark.long
@given(seed=seeds, count=rows)
def test_two_classes(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, count).astype(np.float64)
    probability = scores_with_ties(generator, count)
    predicted = probability > 0.5
    found = classification.binary(truth, probability)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert found["precision"] == pytest.approx(sk.precision_score(truth, predicted, zero_division=0))
    assert found["recall"] == pytest.approx(sk.recall_score(truth, predicted, zero_division=0))
    for name, beta in (("f0_5", 0.5), ("f1", 1), ("f2", 2)):
        assert found[name] == pytest.approx(sk.fbeta_score(truth, predicted, beta=beta, zero_division=0))
    assert found["log_loss"] == pytest.approx(sk.log_loss(truth, probability, labels=[0, 1]))
    if 0 < truth.sum() < count:
        assert found["auc"] == pytest.approx(sk.roc_auc_score(truth, probability))
        assert found["true_negative_rate"] == pytest.approx(sk.recall_score(truth, predicted, pos_label=0))
        assert found["false_positive_rate"] == pytest.approx(1 - found["true_negative_rate"])
        assert found["false_negative_rate"] == pytest.approx(1 - found["recall"])


@pytest.mark.long
@given(seed=seeds, count=rows, classes=st.integers(2, 5))
def test_several_classes(seed: int, count: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, count).astype(np.float64)
    probabilities = generator.dirichlet(np.ones(classes), count)
    predicted = probabilities.argmax(axis=1).astype(np.float64)
    found = classification.multiclass(truth, probabilities)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    options = {"average": "weighted", "zero_division": 0}
    assert found["weighted_precision"] == pytest.approx(sk.precision_score(truth, predicted, **options))
    assert found["weighted_recall"] == pytest.approx(sk.recall_score(truth, predicted, **options))
    assert found["weighted_f2"] == pytest.approx(sk.fbeta_score(truth, predicted, beta=2, **options))
    assert found["log_loss"] == pytest.approx(sk.log_loss(truth, probabilities, labels=range(classes)))
    matrix = classification.confusion(truth, predicted, classes)
    assert (matrix == sk.confusion_matrix(truth, predicted, labels=range(classes))).all()


def test_one_class_alone_cannot_be_ordered() -> None:
    assert classification.binary(np.ones(3), np.array([0.1, 0.9, 0.5]))["auc"] == 0.5


def test_the_standard_deviation_of_a_mean_is_the_one_of_the_textbook() -> None:
    errors = np.random.default_rng(1).normal(size=400)
    found = with_standard_deviation(lambda truth, _: {"mean": float(truth.mean())}, errors, errors)["mean"]
    assert found["standard_deviation"] == pytest.approx(errors.std() / 20, rel=0.1)
    assert found == with_standard_deviation(lambda truth, _: {"mean": float(truth.mean())}, errors, errors)["mean"]
