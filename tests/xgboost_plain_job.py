"""A training job that is nothing but the hosts, so that a test can make one of them do anything at any point.

Run as `python xgboost_plain_job.py`, one process per host, each with its own SAGEMAKER_BASE_DIR. The file `plan.json` there says
what happens: `{"rows": 200, "rounds": 20, "params": {...}, "at": {"load": "raise", "round-5": "kill"}}`. A host that holds
goes on when its base folder has a file `go`. `environment` in the plan are variables of this host alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

import numpy as np
from xgboost_container.contract import Paths, UserError, log, run_step
from xgboost_container.training.distributed.agreement import Shard
from xgboost_container.training.distributed.collective import distributed
from xgboost_container.training.distributed.hosts import Hosts


def main() -> int:
    paths = Paths.from_environment()
    plan = json.loads((paths.base / "plan.json").read_text())
    for _ in range(plan.get("times", 1)):
        code = run_step(job, paths, paths.training_failure)
    return code


asked: list[int] = []


def job(paths: Paths) -> None:
    plan: dict[str, Any] = json.loads((paths.base / "plan.json").read_text())
    os.environ.update(plan.get("environment", {}))
    rows, at = plan.get("rows", 200), plan.get("at", {})

    def reach(point: str) -> None:
        act(at.get(point), paths)

    if plan.get("stop_politely"):
        signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    reach("start")
    hosts = Hosts.read(paths)
    with distributed(hosts, paths) as group:
        reach("load")
        if "qids" in plan:
            group.check_groups(np.asarray(plan["qids"]))
        group.agree(Shard(rows=rows, width=plan.get("width", 5), content_type=plan.get("content_type", "csv")))
        if not group.has_rows:
            log(f"{group.current} has no rows")
            return
        log(f"rank {group.rank} of {group.size}, leader {group.is_leader}")
        start = group.broadcast(b"from " + group.current.encode()) or b""
        log(f"broadcast {start.decode()}")
        _reach_init(reach)
        with group.collective():
            model = train(plan, rows, seed=hosts.all.index(hosts.current), reach=reach, stop=group.any)
        reach("trained")
        group.check_same("the model", bytes(model))
        if group.is_leader:
            reach("write")
            paths.model.mkdir(parents=True, exist_ok=True)
            (paths.model / "xgboost-model").write_bytes(model)
        reach("done")


def _reach_init(reach: Any) -> None:
    """The point `init` is where XGBoost's own group forms."""
    from xgboost import collective

    init = collective.init

    def reach_and_init(**arguments: Any) -> None:
        reach("init")
        init(**arguments)

    collective.init = reach_and_init


def train(plan: dict[str, Any], rows: int, seed: int, reach: Any, stop: Any) -> bytearray:
    import xgboost  # here, after the container's own modules: they make it importable where there is no scipy

    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, plan.get("width", 5))).astype(np.float32)
    labels = features[:, 0] + features[:, 1] ** 2
    make = xgboost.DMatrix if plan.get("plain_matrix") else xgboost.QuantileDMatrix
    matrix = make(features, label=labels)
    booster = xgboost.Booster({"nthread": 1, **plan.get("params", {})}, [matrix])
    for number in range(plan.get("rounds", 20)):
        reach(f"round-{number}")
        booster.update(matrix, number)
        if stop(bool(asked)):
            log(f"stopped after round {number}")
            break
    return booster.save_raw("ubj")


def act(what: str | None, paths: Paths) -> None:
    if what is None:
        return
    log(f"reached: {what}")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "refuse":
        raise UserError("train/a.csv: row 3, column 2: 'x' is no number")
    elif what == "break":
        raise ValueError("a mistake of ours")
    elif what == "hold":
        while not (paths.base / "go").exists():
            time.sleep(0.01)
    elif what != "pass":
        raise AssertionError(what)


if __name__ == "__main__":
    sys.exit(main())
