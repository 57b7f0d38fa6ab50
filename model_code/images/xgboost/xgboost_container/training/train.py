"""The step `train`: hyperparameters and channels in, a model out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import xgboost

from ..contract import Paths, Stopped, check_writable, log, read_config
from . import checkpoints, hyperparameters, saving, script
from .data import Data, evaluation_matrix, read_data, training_matrix
from .distributed.agreement import check_for_hosts
from .distributed.collective import Group, distributed
from .distributed.hosts import Hosts
from .fit import Fitted, Rounds, State, fit, measure
from .folds import Predictions, folds, mean_metrics
from .hyperparameters import Hyperparameters
from .metric_lines import log_metrics
from .termination import Termination, noted_termination


def train(paths: Paths) -> None:
    """Train on the job's channels and leave the model in `/opt/ml/model`; or run the user's own script, if there is one.

    Raises:
        UserError: hyperparameters, data or script are not what this training can work with.
        AlgorithmError: XGBoost failed, a host was lost, a disk is full.
        Stopped: SIGTERM came. Checkpoints are kept, and the model if `save_model_on_termination` says so.
    """
    given = read_config(paths.config / "hyperparameters.json") or {}
    if script.is_wanted(paths, given):
        script.run(paths, given)
        return
    chosen = hyperparameters.parse(given)
    hyperparameters.log_remarks(chosen)
    hosts = Hosts.read(paths)
    if len(hosts.all) > 1:
        check_for_hosts(chosen.chosen, len(hosts.all))
    with distributed(hosts, paths) as group:
        if hosts.is_leader:
            _check_writable(paths, chosen)
        data = read_data(paths, chosen, group)
        if data is None:
            return
        with noted_termination() as termination:
            kept = partial(_checkpoints, paths, chosen, data, group)
            if chosen.kfold:
                _cross_validate(paths, chosen, data, group, termination, kept)
                stopped = False
            else:
                stopped = _fit_one(paths, chosen, data, group, termination, kept)
    if stopped:
        raise Stopped  # only now, when every host is done: within, it would end them where they are


def _check_writable(paths: Paths, chosen: Hyperparameters) -> None:
    """Before hours of reading and training, not after."""
    checkpoint_folder = checkpoints.folder_of(paths, wanted=chosen.checkpoint_rounds is not None)
    for folder in (paths.model, paths.output_data, *([] if checkpoint_folder is None else [checkpoint_folder])):
        check_writable(folder)


def _fit_one(
    paths: Paths,
    chosen: Hyperparameters,
    data: Data,
    group: Group,
    termination: Termination,
    kept: Callable[[str], checkpoints.Checkpoints | None],
) -> bool:
    """Returns whether SIGTERM came before the end."""
    # Within the collective every matrix and booster is made, trained and measured by all hosts together. Outside of it, what
    # the leader does with the model, it does alone.
    with group.collective():
        matrices = {"train": training_matrix(data.train, chosen)}
        matrices |= {
            name: evaluation_matrix(channel, chosen) for name, channel in data.channels.items() if name != "train"
        }
        for channel in data.channels.values():
            channel.release()
        log(f"Training on {data.about['train']['rows']} rows with {_readable(chosen)}")
        watched = {name: matrices[name] for name in matrices if name == "validation"}
        fitted = fit(chosen, matrices["train"], watched, group, _rounds(kept(""), group, termination))
        group.check_same("the model", bytes(fitted.booster.save_raw("ubj")))
        metrics = {**fitted.metrics, **_tested(chosen, fitted, matrices, group)}
    if group.is_leader and (chosen.save_model_on_termination or not fitted.stopped):
        saving.save(paths, chosen, data, [fitted], metrics)
    return fitted.stopped


def _cross_validate(
    paths: Paths,
    chosen: Hyperparameters,
    data: Data,
    group: Group,
    termination: Termination,
    kept: Callable[[str], checkpoints.Checkpoints | None],
) -> None:
    rows, k = data.train, chosen.kfold or 0
    models: list[Fitted] = []
    unseen = Predictions(
        rows.labels(),
        repeats=chosen.num_cv_round,
        classes=chosen.classes,
        threshold=0.0 if chosen.objective == "binary:logitraw" else 0.5,
    )
    log(f"{chosen.num_cv_round} times {k}-fold cross validation of {rows.rows} rows with {_readable(chosen)}")
    for fold in folds(
        rows.labels(),
        rows.qids(),
        k=k,
        repeats=chosen.num_cv_round,
        seed=chosen.seed,
        classes=chosen.classes > 0,
    ):
        log(f"Fold {fold.number % k + 1} of {k}, round {fold.number // k + 1} of {chosen.num_cv_round}")
        seen = training_matrix(rows.subset(fold.train), chosen)
        held_out = evaluation_matrix(rows.subset(fold.held_out), chosen)
        rounds = _rounds(kept(f"fold-{fold.number}"), group, termination)
        fitted = fit(chosen, seen, {"validation": held_out}, group, rounds)
        if fitted.stopped:
            raise Stopped  # some folds are no ensemble; with checkpoints the job goes on where it is
        models.append(fitted)
        unseen.record(fold.held_out, fold.number // k, fitted.booster.predict(held_out))
        if len(models) % k == 0:
            log_metrics(chosen.num_round, mean_metrics([fitted.metrics for fitted in models[-k:]]))
    metrics = mean_metrics([fitted.metrics for fitted in models])
    if chosen.num_cv_round > 1:
        log_metrics(chosen.num_round, metrics)
    saving.save(paths, chosen, data, models, metrics, {"predictions.csv": unseen.as_csv()})


def _checkpoints(
    paths: Paths, chosen: Hyperparameters, data: Data, group: Group, name: str
) -> checkpoints.Checkpoints | None:
    folder = checkpoints.folder_of(paths, wanted=chosen.checkpoint_rounds is not None)
    if folder is None:
        return None
    identity = {
        "hyperparameters": {key: value for key, value in chosen.chosen.items() if key not in checkpoints.MAY_CHANGE},
        "data": data.fingerprint,
        "hosts": group.size,
        "xgboost": xgboost.__version__,
    }
    return checkpoints.Checkpoints(folder / name, identity, chosen.checkpoint_rounds, chosen.nthread)


def _rounds(kept: checkpoints.Checkpoints | None, group: Group, termination: Termination) -> Rounds:
    if kept is None:
        return Rounds(is_told_to_stop=termination.is_noted)
    start = _start(kept, group)
    if start is not None and group.is_leader:
        log(f"Going on after round {start.rounds} from the checkpoint in {kept.folder}")
    return Rounds(start, kept.after if group.is_leader else _nothing, termination.is_noted)


def _start(kept: checkpoints.Checkpoints, group: Group) -> State | None:
    """The leader's checkpoint, on every host: SageMaker may bring files of several hosts back, in any mixture."""
    state = kept.latest() if group.is_leader else None
    content = group.broadcast(None if state is None else checkpoints.encode(state, {}))
    return None if content is None else checkpoints.decode(content)[1]


def _nothing(rounds: int, state: Callable[[], State], last: bool) -> None:
    pass


def _tested(
    chosen: Hyperparameters, fitted: Fitted, matrices: Mapping[str, xgboost.DMatrix], group: Group
) -> dict[str, dict[str, float]]:
    """The metrics of the kept model on the channel test, where there is one: measured once, when all is decided."""
    test = {name: matrix for name, matrix in matrices.items() if name == "test"}
    if not test:
        return {}
    measured = measure(chosen, fitted.booster, test, fitted.kept - 1, group)
    if group.is_leader:
        log_metrics(fitted.kept - 1, measured)
    return measured


def _readable(chosen: Hyperparameters) -> str:
    told: dict[str, Any] = {**chosen.chosen, "nthread": chosen.nthread}
    return ", ".join(
        f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for name, value in told.items()
    )
