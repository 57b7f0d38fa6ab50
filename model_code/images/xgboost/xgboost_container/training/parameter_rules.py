"""What hyperparameters must hold together: each rule adds a sentence that names what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import metrics
from .library import has_metric, objectives
from .parameter_table import LINEAR_UPDATERS, TABLE, TREE_UPDATERS

_FEATURE_TYPES = ("q", "c", "i", "int", "float")


def faults_between(chosen: Mapping[str, Any]) -> list[str]:
    """All that does not fit together, and what only the library can say of objectives and metrics."""
    return [fault for rule in _RULES for fault in rule(chosen)]


def _objective(chosen: Mapping[str, Any]) -> str:
    return str(chosen.get("objective", "reg:squarederror"))


def _booster(chosen: Mapping[str, Any]) -> str:
    return str(chosen.get("booster", "gbtree"))


def _objective_is_known(chosen: Mapping[str, Any]) -> Iterator[str]:
    objective = _objective(chosen)
    if objective not in objectives():
        yield f"objective must be one of {', '.join(objectives())}, got {objective!r}"


def _classes(chosen: Mapping[str, Any]) -> Iterator[str]:
    objective = _objective(chosen)
    if objective.startswith("multi:") and "num_class" not in chosen:
        yield f"num_class is missing: objective {objective} needs the number of classes"


def _only_where_it_has_a_meaning(chosen: Mapping[str, Any]) -> Iterator[str]:
    """A hyperparameter without effect would be a promise that is not kept."""
    objective, booster = _objective(chosen), _booster(chosen)
    for name, value in chosen.items():
        parameter = TABLE[name]
        if booster not in parameter.boosters:
            if value == parameter.default:
                continue  # says what is so anyway: tuning jobs write every value down
            yield f"{name} is for booster {' and '.join(parameter.boosters)}, got booster {booster}"
        elif parameter.objectives and not objective.startswith(parameter.objectives) and value != parameter.default:
            yield f"{name} is for objective {', '.join(_any(o) for o in parameter.objectives)}, got objective {objective}"


def _any(objective: str) -> str:
    return f"{objective}*" if objective.endswith(":") else objective


def _metrics(chosen: Mapping[str, Any]) -> Iterator[str]:
    objective = _objective(chosen)
    for name, given in (("eval_metric", chosen.get("eval_metric", ())), ("_tuning_objective_metric", _aims(chosen))):
        unknown = [metric for metric in given if not _is_metric(metric)]
        if unknown:
            yield f"{name} must be of {', '.join(metrics.METRICS)}; got {', '.join(unknown)}"
        for metric in given:
            known = metrics.METRICS.get(metrics.base_name(metric))
            if metric not in unknown and known is not None and not known.fits(objective):
                meant_for = ", ".join(_any(beginning) for beginning in known.objectives)
                yield f"{name} {metric} is for objective {meant_for}, got objective {objective}"


def _is_metric(metric: str) -> bool:
    if metrics.base_name(metric) not in metrics.METRICS:
        return False
    return metric in metrics.OF_CONTAINER or (_is_set_well(metric) and has_metric(metric))


def _is_set_well(metric: str) -> bool:
    """XGBoost takes `auc@x` without a word; a number after the @ is what the few have that take one."""
    name, at, number = metric.partition("@")
    if not at:
        return name == metrics.base_name(metric) or metrics.METRICS[metrics.base_name(metric)].takes_number
    try:
        float(number.rstrip("-"))
    except ValueError:
        return False
    return metrics.METRICS[name].takes_number


def _aims(chosen: Mapping[str, Any]) -> list[str]:
    return [aim.rpartition(":")[2] for aim in chosen.get("_tuning_objective_metric", ())]


def _tuning_aims_at_what_is_measured(chosen: Mapping[str, Any]) -> Iterator[str]:
    for aim in chosen.get("_tuning_objective_metric", ()):
        channel = aim.rpartition(":")[0]
        if channel not in ("", "train", "validation"):
            yield f"_tuning_objective_metric must begin with train: or validation:, got {aim!r}"


def _updaters(chosen: Mapping[str, Any]) -> Iterator[str]:
    given = chosen.get("updater", ())
    allowed = LINEAR_UPDATERS if _booster(chosen) == "gblinear" else TREE_UPDATERS
    wrong = [name for name in given if name not in allowed]
    if wrong:
        yield f"updater must be of {', '.join(allowed)} for booster {_booster(chosen)}, got {', '.join(wrong)}"
    elif _booster(chosen) == "gblinear":
        if len(given) > 1:
            yield f"updater must be one for booster gblinear, got {', '.join(given)}"
    elif given and sum(name.startswith("grow_") for name in given) != 1:
        yield f"updater must have exactly one that grows trees (grow_...), got {', '.join(given)}"


def _leaves(chosen: Mapping[str, Any]) -> Iterator[str]:
    if chosen.get("tree_method") == "exact":
        for name in ("max_leaves", "grow_policy", "max_bin"):
            if name in chosen and chosen[name] != TABLE[name].default:
                yield f"{name} is for tree_method hist and approx, got tree_method exact"
    if chosen.get("max_depth") == 0 and not chosen.get("max_leaves"):
        yield "max_depth 0 means no limit and needs max_leaves of at least 1, or trees grow until memory ends"


def _features(chosen: Mapping[str, Any]) -> Iterator[str]:
    names = chosen.get("feature_names", ())
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield f"feature_names has {', '.join(twice[:3])} more than once"
    marked = [name for name in names if any(sign in name for sign in "[]<")]
    if marked:
        yield f"feature_names must not have [, ] or < in them (XGBoost's own rule), got {', '.join(marked[:3])}"
    types = chosen.get("feature_types", ())
    wrong = sorted(set(types) - set(_FEATURE_TYPES))
    if wrong:
        yield f"feature_types must be of q (a quantity), c (a category), i (yes or no), int, float; got {', '.join(wrong[:3])}"
    if "c" in types and (_booster(chosen) == "gblinear" or chosen.get("tree_method") == "exact"):
        yield "feature_types has c (a category), which booster gblinear and tree_method exact cannot train on"


def _folds(chosen: Mapping[str, Any]) -> Iterator[str]:
    if "_num_cv_round" in chosen and "_kfold" not in chosen:
        yield "_num_cv_round repeats the k-fold cross validation and needs _kfold"


def _quantiles(chosen: Mapping[str, Any]) -> Iterator[str]:
    if _objective(chosen) == "reg:quantileerror" and "quantile_alpha" not in chosen:
        yield "quantile_alpha is missing: objective reg:quantileerror needs the quantiles, such as 0.5"


_RULES: tuple[Callable[[Mapping[str, Any]], Iterator[str]], ...] = (
    _objective_is_known,
    _classes,
    _only_where_it_has_a_meaning,
    _metrics,
    _tuning_aims_at_what_is_measured,
    _updaters,
    _leaves,
    _features,
    _folds,
    _quantiles,
)
