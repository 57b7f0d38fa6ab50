"""Boosts round by round, so that a training that goes on from any round ends with the same bytes as one that never stopped.

`xgboost.train` does the same rounds and starts counting at 0 when it goes on, with other random numbers than the
uninterrupted training had. Here a round depends on nothing but the model before it, the data, and its own number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import xgboost

from ..contract import UserError
from . import metrics
from .complaints import told_apart
from .distributed.agreement import Disagreement
from .hyperparameters import Hyperparameters
from .metric_lines import History, at_round, log_metrics


class Group(Protocol):
    """The hosts that train together, as `collective.distributed` gives them."""

    @property
    def is_leader(self) -> bool: ...

    @property
    def size(self) -> int: ...

    def gather(self, value: Any) -> list[Any]: ...

    def any(self, flag: bool) -> bool: ...


@dataclass(frozen=True)
class State:
    """All that a training needs in order to go on after a round.

    Attributes:
        model: the booster after the last round, as UBJ.
        history: every metric of every round, from which early stopping counts.
        best: the booster after the best round, where it cannot be cut out of `model`: later rounds of dart change
            the weights of earlier trees, and those of gblinear its only coefficients.
    """

    model: bytes
    history: History
    best: bytes | None = None

    @property
    def rounds(self) -> int:
        return len(next(iter(next(iter(self.history.values())).values())))


@dataclass(frozen=True)
class Fitted:
    """The booster up to its best round (or all rounds without early stopping), and how it got there.

    `stopped` says that SIGTERM came before the end.
    """

    booster: xgboost.Booster
    history: History
    kept: int
    stopped: bool = False

    @property
    def trained(self) -> int:
        return len(next(iter(next(iter(self.history.values())).values())))

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Of the model that is kept."""
        return at_round(self.history, self.kept - 1)


@dataclass
class Rounds:
    """What happens around each round; the default is nothing.

    Attributes:
        start: where to go on, or None to begin.
        after: called with the number of rounds so far, what makes the state if it is wanted, and whether this is the
            last round that is trained here.
        is_told_to_stop: asked after every round.
    """

    start: State | None = None
    after: Callable[[int, Callable[[], State], bool], None] = lambda rounds, state, last: None
    is_told_to_stop: Callable[[], bool] = lambda: False


def fit(
    chosen: Hyperparameters,
    train: xgboost.DMatrix,
    others: Mapping[str, xgboost.DMatrix],
    group: Group,
    rounds: Rounds | None = None,
) -> Fitted:
    """Train on `train` and measure it and `others` after each round; early stopping watches the last of `others`.

    Raises:
        UserError: XGBoost refuses the data or the parameters.
        AlgorithmError: XGBoost fails.
    """
    rounds = rounds or Rounds()
    measured = {"train": train, **others}
    if rounds.start is not None and rounds.start.rounds > chosen.num_round:
        raise UserError(f"num_round is {chosen.num_round}, and the checkpoint has {rounds.start.rounds} rounds already")
    with told_apart("training"):
        booster = _begin(chosen, train, measured, rounds.start)
        history: History = {} if rounds.start is None else rounds.start.history
        best = None if rounds.start is None else rounds.start.best
        first = 0 if rounds.start is None else rounds.start.rounds
        stopped = False
        watched = _Watched(chosen, list(measured)[-1])
        for number in range(first, chosen.num_round):
            if watched.is_over(history):
                break
            _forget_the_last_draw(booster, chosen)
            booster.update(train, number)
            latest = measure(chosen, booster, measured, number, group)
            _append(history, latest)
            watched.check(history)
            if group.is_leader:
                log_metrics(number, latest)
            if watched.keeps_best and watched.best(history) == number:
                best = bytes(booster.save_raw("ubj"))
            stopped = group.any(rounds.is_told_to_stop())
            last = stopped or number + 1 == chosen.num_round or watched.is_over(history)
            rounds.after(number + 1, lambda best=best: State(bytes(booster.save_raw("ubj")), history, best), last)  # type: ignore[misc]
            if last:
                break
        stopped = stopped and not watched.is_over(history) and len(_first(history)) < chosen.num_round
        return _finished(chosen, booster, history, watched, best, stopped)


def _begin(
    chosen: Hyperparameters, train: xgboost.DMatrix, measured: Mapping[str, xgboost.DMatrix], start: State | None
) -> xgboost.Booster:
    matrices = list(measured.values())
    if start is None:
        return xgboost.Booster(chosen.params, matrices)
    if chosen.params.get("tree_method") == "approx" and chosen.params.get("subsample", 1) < 1:
        # Where the second derivative is constant, approx makes its bins once, of the rows that the first round drew,
        # and keeps them with the matrix. So the first round has to draw them again, for a booster that is thrown away.
        scratch = xgboost.Booster(chosen.params, [train])
        _forget_the_last_draw(scratch, chosen)
        scratch.update(train, 0)
    return xgboost.Booster(chosen.params, matrices, model_file=bytearray(start.model))


def _forget_the_last_draw(booster: xgboost.Booster, chosen: Hyperparameters) -> None:
    """Make the booster draw columns and rows as if this round were its first.

    `seed_per_iteration` seeds XGBoost's generator anew in each round. But the updaters that grow trees have
    a generator of their own for columns, seeded from that one in their first round: one draw more in the first
    round after a start, and columns that go on from where no checkpoint knows. Another updater for a
    moment, and the updaters are made anew. It costs microseconds: what is large belongs to the matrix.
    """
    params = chosen.params
    if params.get("booster") == "gblinear":
        if params.get("feature_selector", "cyclic") not in ("shuffle", "random"):
            return
        own = {name: params[name] for name in ("updater", "feature_selector")}
        other = {
            "updater": "shotgun" if own["updater"] == "coord_descent" else "coord_descent",
            "feature_selector": "cyclic",
        }
    elif all(params.get(name, 1) == 1 for name in _DRAWS):
        return
    elif "updater" in params:
        own, other = {"updater": params["updater"]}, {"updater": "refresh"}
    else:
        method = params.get("tree_method", "auto")
        own, other = {"tree_method": method}, {"tree_method": "hist" if method == "approx" else "approx"}
    for setting in (other, own):
        booster.set_param(setting)
        booster.num_boosted_rounds()  # parameters take effect when something is asked


_DRAWS = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")


def measure(
    chosen: Hyperparameters,
    booster: xgboost.Booster,
    measured: Mapping[str, xgboost.DMatrix],
    number: int,
    group: Group,
) -> dict[str, dict[str, float]]:
    """Every metric on every data set, in the order in which they were asked for, over the rows of all hosts."""
    latest: dict[str, dict[str, float]] = {name: {} for name in measured}
    own = [metric for metric in chosen.eval_metrics if metric in metrics.OF_CONTAINER]
    if not own or len(own) < len(chosen.eval_metrics):
        said = booster.eval_set([(matrix, name) for name, matrix in measured.items()], number)
        for column in said.split("\t")[1:]:
            place, _, score = column.rpartition(":")
            name, _, metric = place.partition("-")
            latest[name][metric] = float(score)
    for name, matrix in measured.items() if own else ():
        # Cheap: the booster keeps its predictions of these matrices from round to round.
        predicted, labels = booster.predict(matrix), matrix.get_label()
        threshold = 0.0 if chosen.objective == "binary:logitraw" else 0.5
        for metric in own:
            sums = metrics.statistics(metric, labels, predicted, chosen.classes, threshold)
            total = sums if group.size == 1 else sum(sums * 0 + part for part in group.gather(sums.tolist()))
            latest[name][metric] = metrics.value(metric, total)
    if not own:
        return latest
    return {name: {metric: scores[metric] for metric in chosen.eval_metrics} for name, scores in latest.items()}


def _append(history: History, latest: Mapping[str, Mapping[str, float]]) -> None:
    for name, scores in latest.items():
        for metric, score in scores.items():
            history.setdefault(name, {}).setdefault(metric, []).append(score)


def _first(history: History) -> Sequence[float]:
    return next(iter(next(iter(history.values())).values()))


@dataclass
class _Watched:
    """Early stopping: the last metric on the last data set, as XGBoost and SageMaker have it. A pure function of the
    history, so that a training that goes on stops where it would have stopped."""

    chosen: Hyperparameters
    data: str

    @property
    def keeps_best(self) -> bool:
        return self.chosen.early_stopping_rounds is not None and self.chosen.booster != "gbtree"

    def best(self, history: History) -> int:
        """The first of the best rounds, from 0. What is not a number is never best."""
        metric, scores = list(history[self.data].items())[-1]
        sign = 1 if metrics.maximize(metric) else -1
        values = [sign * score if not math.isnan(score) else -math.inf for score in scores]
        return values.index(max(values))

    def check(self, history: History) -> None:
        """Refuse to watch what is no number from the first round on: it would stop the training there, untrained.

        Raises:
            UserError: names the metric.
        """
        metric, scores = list(history[self.data].items())[-1]
        if self.chosen.early_stopping_rounds is not None and len(scores) == 1 and math.isnan(scores[0]):
            raise Disagreement(
                f"early_stopping_rounds: {self.data}-{metric} is not a number, so it cannot say when to stop. "
                f"Does {self.data} have rows of one class alone? Choose another eval_metric, or other rows"
            )

    def is_over(self, history: History) -> bool:
        if self.chosen.early_stopping_rounds is None or not history:
            return False
        return len(_first(history)) - 1 - self.best(history) >= self.chosen.early_stopping_rounds


def _finished(
    chosen: Hyperparameters,
    booster: xgboost.Booster,
    history: History,
    watched: _Watched,
    best: bytes | None,
    stopped: bool,
) -> Fitted:
    trained = len(_first(history))
    if chosen.early_stopping_rounds is None:
        return Fitted(booster, history, trained, stopped)
    kept = watched.best(history) + 1
    if best is not None:
        booster = xgboost.Booster(chosen.params, model_file=bytearray(best))
    elif kept < trained:
        booster = booster[:kept]
    return Fitted(booster, history, kept, stopped)
