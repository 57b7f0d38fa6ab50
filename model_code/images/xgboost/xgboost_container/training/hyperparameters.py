"""Reads `hyperparameters.json`: every fault at once, before any data is read, in the words of the user."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..contract import UserError, log
from ..machine import usable_cpus
from . import metrics
from .library import complaint
from .parameter_rules import faults_between
from .parameter_table import ALIASES, GONE, TABLE
from .parameter_values import plain_text, shown, value_of

# What SageMaker's tuning and its SDKs add for themselves.
_RESERVED = ("_tuning_", "sagemaker_")

# What users of XGBoost's other interfaces call it, too far from the name for a spelling check.
_ALSO_CALLED = {"n_estimators": "num_round", "num_boost_round": "num_round", "iterations": "num_round"}


# Fields that have the name and the value of the hyperparameter.
_FIELDS = (
    "num_round",
    "booster",
    "num_class",
    "early_stopping_rounds",
    "csv_weights",
    "feature_names",
    "feature_types",
    "seed",
    "max_bin",
    "checkpoint_rounds",
    "save_model_on_termination",
)


@dataclass(frozen=True)
class Hyperparameters:
    """What was chosen.

    Attributes:
        params: what XGBoost is told, by its names; only what was given, and `seed`, `nthread` and what makes rounds
            repeatable.
        chosen: every hyperparameter that was given, by the name in the table and as a value: what is written
            beside the model.
        eval_metrics: what is measured each round, in this order; empty means the objective's own metric. Early
            stopping watches the last one.
    """

    params: dict[str, Any]
    chosen: dict[str, Any]
    num_round: int
    objective: str = "reg:squarederror"
    booster: str = "gbtree"
    num_class: int = 0
    eval_metrics: tuple[str, ...] = ()
    early_stopping_rounds: int | None = None
    csv_weights: bool = False
    feature_names: tuple[str, ...] | None = None
    feature_types: tuple[str, ...] | None = None
    kfold: int | None = None
    num_cv_round: int = 1
    seed: int = 0
    nthread: int = 1
    max_bin: int = 256
    checkpoint_rounds: int | None = None
    save_model_on_termination: bool = False
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def classes(self) -> int:
        """How many classes a prediction chooses from: 0 where it is no class."""
        return 2 if self.objective.startswith("binary:") else self.num_class

    @property
    def needs_plain_matrix(self) -> bool:
        """Whether training reads the values themselves: all but the histogram method do."""
        if self.booster == "gblinear" or self.params.get("tree_method") in ("exact", "approx"):
            return True
        return any(name in ("grow_colmaker", "grow_histmaker") for name in self.chosen.get("updater", ()))

    def check_features(self, num_features: int, names: Sequence[str] | None) -> None:
        """What can only be checked once the width of the data is known.

        Raises:
            UserError: constraints, names or types that do not fit the data; all of them at once.
        """
        faults = []
        for name in ("feature_names", "feature_types", "monotone_constraints"):
            given = self.chosen.get(name)
            if not isinstance(given, tuple):
                continue
            # XGBoost takes missing constraints on the right for none.
            too_few = len(given) < num_features and name != "monotone_constraints"
            if too_few or len(given) > num_features:
                faults.append(f"{name} has {len(given)} entries, the data has {num_features} features")
        for name, key in self._constrained():
            if isinstance(key, int) and key >= num_features:
                faults.append(f"{name}: there is no feature {key}, the data has {num_features} features, from 0")
            elif isinstance(key, str) and not names:
                faults.append(
                    f"{name}: {shown(key)} names a feature, and the features have no names: set feature_names"
                )
            elif isinstance(key, str) and key not in (names or ()):
                faults.append(f"{name}: there is no feature {shown(key)}{_did_you_mean(key, names)}")
        if faults:
            raise UserError(f"hyperparameters.json: {'; '.join(faults)}")

    def _constrained(self) -> list[tuple[str, int | str]]:
        """Every feature that a constraint names, by its place or its name."""
        monotone = self.chosen.get("monotone_constraints")
        groups = self.chosen.get("interaction_constraints", ())
        return [
            *(("monotone_constraints", key) for key in (monotone if isinstance(monotone, dict) else ())),
            *(("interaction_constraints", key) for group in groups for key in group),
        ]


def parse(given: Mapping[str, Any], source: str = "hyperparameters.json", cpus: int | None = None) -> Hyperparameters:
    """The hyperparameters, checked one by one, then together, then by the library itself.

    Args:
        given: as in the file; values are strings, or what JSON has.
        cpus: how many threads to train with unless `nthread` says so; None means as many as this process may use.

    Raises:
        UserError: all that is wrong, in one message.
    """
    faults: list[str] = []
    remarks: list[str] = []
    wrong: set[str] = set()
    chosen: dict[str, Any] = {}
    for key, raw in given.items():
        text = plain_text(raw)
        name = ALIASES.get(key, key)
        if key.startswith(_RESERVED) and key not in TABLE:
            continue
        if name in GONE:
            if text.lower() in GONE[name].harmless:
                remarks.append(f"{key}={text} is left out: {GONE[name].reason}")
            else:
                faults.append(f"{key}={text} is not possible: {GONE[name].reason}")
        elif name not in TABLE:
            faults.append(f"{key}: there is no such hyperparameter{_did_you_mean(key, (*TABLE, *ALIASES))}")
        elif name in chosen:
            faults.append(f"{key} and {_first_spelling(name, given)} are the same hyperparameter: give one of them")
        else:
            try:
                chosen[name] = value_of(TABLE[name], text)
            except ValueError as error:
                faults.append(_explained(name, text, str(error)))
                wrong.add(name)
    if "num_round" not in given:
        faults.append("num_round is missing: the number of rounds to train")
    # What was given with a wrong value is not missing as well.
    faults += [fault for fault in faults_between(chosen) if fault.partition(" is missing")[0] not in wrong]
    if not faults:
        made = _made(chosen, tuple(remarks), cpus)
        said = complaint(made.params, made.objective, made.num_class)
        if said is None:
            return made
        faults.append(f"XGBoost says: {said}")
    raise UserError(f"{source}: {'; '.join(faults)}")


def _made(chosen: dict[str, Any], remarks: tuple[str, ...], cpus: int | None) -> Hyperparameters:
    objective, booster = chosen.get("objective", "reg:squarederror"), chosen.get("booster", "gbtree")
    wanted_metrics = measured(chosen)
    nthread = chosen.get("nthread") or cpus or usable_cpus()
    params: dict[str, Any] = {
        name: _for_library(value) for name, value in chosen.items() if TABLE[name].reaches(booster, objective)
    }
    if objective == "reg:linear":
        # XGBoost's old name of it, which it still takes: nothing that reads the model should have to know both.
        params["objective"] = "reg:squarederror"
        remarks = (*remarks, "objective=reg:linear is now called reg:squarederror")
    params |= {"seed": chosen.get("seed", 0), "nthread": nthread, "seed_per_iteration": True}
    if booster == "gblinear":
        # XGBoost's own default, shotgun, lets threads race, so that two trainings never give the same model.
        params.setdefault("updater", "coord_descent")
    of_xgboost = [metric for metric in wanted_metrics if metric not in metrics.OF_CONTAINER]
    if of_xgboost:
        params["eval_metric"] = of_xgboost
    elif wanted_metrics:
        params["disable_default_eval_metric"] = True
    given = {name: chosen[name] for name in _FIELDS if name in chosen}
    given["objective"] = params.get("objective", "reg:squarederror")
    if params.get("updater") == "shotgun":
        remarks = (
            *remarks,
            "updater=shotgun lets threads race: with nthread above 1 no two trainings give the same model",
        )
    return Hyperparameters(
        params=params,
        chosen=chosen,
        eval_metrics=wanted_metrics,
        kfold=chosen.get("_kfold"),
        num_cv_round=chosen.get("_num_cv_round", 1),
        nthread=nthread,
        remarks=remarks,
        **given,
    )


def measured(chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of `eval_metric`, each once, and last the one that a tuning job aims at (`validation:auc`)."""
    wanted: dict[str, None] = dict.fromkeys(chosen.get("eval_metric", ()))
    for aim in chosen.get("_tuning_objective_metric", ()):
        metric = aim.rpartition(":")[2]
        wanted.pop(metric, None)
        wanted[metric] = None
    return tuple(wanted)


def _for_library(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple):
        if value and isinstance(value[0], str):
            return ",".join(value)
        return list(value) if value and isinstance(value[0], float) else value
    if isinstance(value, list) and isinstance(value[0][0], int):
        return json.dumps(value)  # as text: XGBoost's Python takes the members of a list for names
    return value


def _explained(name: str, text: str, fault: str) -> str:
    """What became of a value that XGBoost or SageMaker once took."""
    if text == "gpu_hist":
        return f"{fault}: this image trains on CPUs, hist gives the same model"
    return fault


def _did_you_mean(name: str, known: Any) -> str:
    close = [_ALSO_CALLED[name]] if name in _ALSO_CALLED else difflib.get_close_matches(name, list(known), 1, 0.6)
    return f", did you mean {close[0]}?" if close else ""


def _first_spelling(name: str, given: Mapping[str, Any]) -> str:
    return next(key for key in given if ALIASES.get(key, key) == name)


def log_remarks(chosen: Hyperparameters) -> None:
    for remark in chosen.remarks:
        log(f"hyperparameters.json: {remark}")
