"""What training may be told: every hyperparameter with its kind, bounds and the default that XGBoost or SageMaker has.

Names and bounds are those of SageMaker's XGBoost algorithm (Amazon SageMaker AI Developer Guide, "XGBoost
hyperparameters") where it has them, else those of XGBoost's own documentation ("XGBoost Parameters").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["whole", "number", "flag", "choice", "names", "numbers", "constraints", "groups"]
Booster = Literal["gbtree", "dart", "gblinear"]

_COUNTABLE = 2**31 - 1  # XGBoost's largest whole number: a bound that nobody needs to be told

TREES: tuple[Booster, ...] = ("gbtree", "dart")
EVERY: tuple[Booster, ...] = ("gbtree", "dart", "gblinear")


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter.

    `least` and `most` are the bounds, themselves allowed unless `above` or `below` says that they are not.
    `default` is what holds when it is not given; None means that it depends on others or that there is none.
    `ours` is what the container reads itself and XGBoost never sees. `objectives` are beginnings of objectives.
    """

    name: str
    kind: Kind
    default: object = None
    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False
    choices: tuple[str, ...] = ()
    boosters: tuple[Booster, ...] = EVERY
    objectives: tuple[str, ...] = ()
    ours: bool = False

    @property
    def wanted(self) -> str:
        """What a value must be, as the end of `NAME must be ...`."""
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        if self.kind == "flag":
            return "0, 1, true or false"
        if self.kind == "names":
            return "words with commas between them"
        if self.kind == "constraints":
            return '-1, 0 or 1 per feature as in (1,0,-1), or by name as in {"age": 1}'
        if self.kind == "groups":
            return "a list of lists of features, as in [[0, 1], [2, 3, 4]]"
        noun = {
            "whole": "a whole number",
            "number": "a number",
            "numbers": "one or more numbers with commas between them, each",
        }[self.kind]
        limits = []
        if self.least != -math.inf:
            limits.append(f"{'more than' if self.above else 'at least'} {self.least:.10g}")
        if self.most < _COUNTABLE or self.least == -_COUNTABLE:
            limits.append(f"{'less than' if self.below else 'at most'} {self.most:.10g}")
        if not limits:
            return noun.removesuffix(", each")
        return f"{noun} {'' if self.kind == 'numbers' else 'of '}{' and '.join(limits)}"

    def reaches(self, booster: str, objective: str) -> bool:
        """Whether XGBoost is told: not what the container reads itself, nor what means nothing to this booster."""
        return not self.ours and booster in self.boosters and objective.startswith(self.objectives or "")

    def holds(self, value: float) -> bool:
        """Whether a number is within the bounds. NaN and infinity never are."""
        if not math.isfinite(value) or not self.least <= value <= self.most:
            return False
        return not (self.above and value == self.least) and not (self.below and value == self.most)


def _share(name: str, **more: object) -> Parameter:
    """A part of the whole: more than 0, at most 1."""
    return Parameter(name, "number", 1.0, 0, 1, above=True, boosters=TREES, **more)  # type: ignore[arg-type]


_OURS = (
    Parameter("num_round", "whole", None, 1, 1_000_000, ours=True),
    Parameter("early_stopping_rounds", "whole", None, 1, 1_000_000, ours=True),
    Parameter("csv_weights", "flag", False, ours=True),
    Parameter("eval_metric", "names", None, ours=True),
    Parameter("_tuning_objective_metric", "names", None, ours=True),
    Parameter("_kfold", "whole", None, 2, 1000, ours=True),
    Parameter("_num_cv_round", "whole", 1, 1, 1000, ours=True),
    Parameter("save_model_on_termination", "flag", False, ours=True),
    Parameter("feature_names", "names", None, ours=True),
    Parameter("feature_types", "names", None, ours=True),
    Parameter("checkpoint_rounds", "whole", None, 1, 1_000_000, ours=True),
)

_GENERAL = (
    Parameter("booster", "choice", "gbtree", choices=EVERY),
    Parameter("objective", "choice", "reg:squarederror"),  # the choices are the library's own
    Parameter("num_class", "whole", None, 2, 100_000, objectives=("multi:",)),
    Parameter("base_score", "number"),
    Parameter("seed", "whole", 0, -_COUNTABLE, _COUNTABLE),
    Parameter("nthread", "whole", None, 1, 4096),
    Parameter("verbosity", "whole", 1, 0, 3),
    Parameter("eta", "number", None, 0, 1),
    Parameter("alpha", "number", 0.0, 0),
    Parameter("lambda", "number", None, 0),
    Parameter("scale_pos_weight", "number", 1.0, 0, above=True, objectives=("binary:", "reg:")),
    Parameter("updater", "names", None),
)

_TREES = (
    Parameter("tree_method", "choice", "auto", choices=("auto", "exact", "approx", "hist"), boosters=TREES),
    Parameter("gamma", "number", 0.0, 0, boosters=TREES),
    Parameter("max_depth", "whole", 6, 0, _COUNTABLE, boosters=TREES),
    Parameter("max_leaves", "whole", 0, 0, _COUNTABLE, boosters=TREES),
    Parameter("max_bin", "whole", 256, 2, 65_536, boosters=TREES),
    Parameter("grow_policy", "choice", "depthwise", choices=("depthwise", "lossguide"), boosters=TREES),
    Parameter("min_child_weight", "number", 1.0, 0, boosters=TREES),
    Parameter("max_delta_step", "number", None, 0, boosters=TREES),
    _share("subsample"),
    _share("colsample_bytree"),
    _share("colsample_bylevel"),
    _share("colsample_bynode"),
    Parameter("sampling_method", "choice", "uniform", choices=("uniform",), boosters=TREES),
    Parameter("num_parallel_tree", "whole", 1, 1, 10_000, boosters=TREES),
    Parameter("monotone_constraints", "constraints", None, boosters=TREES),
    Parameter("interaction_constraints", "groups", None, boosters=TREES),
    Parameter("refresh_leaf", "flag", True, boosters=TREES),
    Parameter(
        "multi_strategy",
        "choice",
        "one_output_per_tree",
        choices=("one_output_per_tree", "multi_output_tree"),
        boosters=TREES,
        objectives=("multi:", "reg:quantileerror"),
    ),
    Parameter("max_cat_to_onehot", "whole", 4, 1, _COUNTABLE, boosters=TREES),
    Parameter("max_cat_threshold", "whole", 64, 1, _COUNTABLE, boosters=TREES),
)

_DART = (
    Parameter("sample_type", "choice", "uniform", choices=("uniform", "weighted"), boosters=("dart",)),
    Parameter("normalize_type", "choice", "tree", choices=("tree", "forest"), boosters=("dart",)),
    Parameter("rate_drop", "number", 0.0, 0, 1, boosters=("dart",)),
    Parameter("one_drop", "flag", False, boosters=("dart",)),
    Parameter("skip_drop", "number", 0.0, 0, 1, boosters=("dart",)),
)

_LINEAR = (
    Parameter(
        "feature_selector",
        "choice",
        "cyclic",
        choices=("cyclic", "shuffle", "random", "greedy", "thrifty"),
        boosters=("gblinear",),
    ),
    Parameter("top_k", "whole", 0, 0, _COUNTABLE, boosters=("gblinear",)),
)

_OF_OBJECTIVES = (
    Parameter("tweedie_variance_power", "number", 1.5, 1, 2, above=True, below=True, objectives=("reg:tweedie",)),
    Parameter("huber_slope", "number", 1.0, 0, above=True, objectives=("reg:pseudohubererror",)),
    Parameter("quantile_alpha", "numbers", None, 0, 1, above=True, below=True, objectives=("reg:quantileerror",)),
    Parameter(
        "aft_loss_distribution",
        "choice",
        "normal",
        choices=("normal", "logistic", "extreme"),
        objectives=("survival:aft",),
    ),
    Parameter("aft_loss_distribution_scale", "number", 1.0, 0, above=True, objectives=("survival:aft",)),
    Parameter("lambdarank_pair_method", "choice", "topk", choices=("topk", "mean"), objectives=("rank:",)),
    Parameter("lambdarank_num_pair_per_sample", "whole", None, 1, _COUNTABLE, objectives=("rank:",)),
    Parameter("lambdarank_normalization", "flag", True, objectives=("rank:",)),
    Parameter("lambdarank_score_normalization", "flag", True, objectives=("rank:",)),
    Parameter("lambdarank_unbiased", "flag", False, objectives=("rank:",)),
    Parameter("lambdarank_bias_norm", "number", 1.0, 0, objectives=("rank:",)),
    Parameter("ndcg_exp_gain", "flag", True, objectives=("rank:",)),
)

TABLE: dict[str, Parameter] = {
    parameter.name: parameter for parameter in (*_OURS, *_GENERAL, *_TREES, *_DART, *_LINEAR, *_OF_OBJECTIVES)
}

ALIASES = {
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
    "random_state": "seed",
    "n_jobs": "nthread",
}


@dataclass(frozen=True)
class Gone:
    """A hyperparameter that SageMaker or an older XGBoost took and that means nothing here.

    `harmless` are the values that ask for what happens anyway: they are accepted, with a line in the log.
    """

    reason: str
    harmless: tuple[str, ...] = ()


_NO_GPU = "this image trains on CPUs"

GONE: dict[str, Gone] = {
    "sketch_eps": Gone("XGBoost has no sketch_eps any more: use max_bin, about 1 / sketch_eps", ("0.03",)),
    "predictor": Gone(f"XGBoost has no predictor any more, and {_NO_GPU}", ("auto", "cpu_predictor")),
    "dsplit": Gone("only rows are divided between hosts", ("row",)),
    "process_type": Gone("an update needs a model to start from, and no channel brings one", ("default",)),
    "lambda_bias": Gone("XGBoost has no lambda_bias any more: leave it out", ("0", "0.0")),
    "deterministic_histogram": Gone(f"it is for GPUs, and {_NO_GPU}", ("true", "false")),
    "single_precision_histogram": Gone("XGBoost has one precision of histograms only: leave it out", ("false",)),
    "prob_buffer_row": Gone("XGBoost has no prob_buffer_row any more: leave it out"),
    "use_dask_gpu_training": Gone(_NO_GPU, ("false",)),
    "device": Gone(_NO_GPU, ("cpu",)),
    "gpu_id": Gone(_NO_GPU, ("-1",)),
    "n_gpus": Gone(_NO_GPU, ("0",)),
    "seed_per_iteration": Gone(
        "every round draws from a seed of its own here, so that training can go on from a checkpoint", ("true", "1")
    ),
    "silent": Gone("XGBoost has no silent any more: use verbosity, 0 to 3"),
}

TREE_UPDATERS = ("grow_colmaker", "grow_histmaker", "grow_quantile_histmaker", "prune", "refresh", "sync")
LINEAR_UPDATERS = ("coord_descent", "shotgun")

NOT_OFFERED = {
    # What `Booster.save_config()` of the installed library holds beyond the table, and why nobody is asked for it.
    "name": "says what kind of thing a part of the configuration is",
    "boost_from_average": "what base_score does when it is not given",
    "debug_synchronize": "for XGBoost's developers",
    "disable_default_eval_metric": "set by the container when all metrics are its own",
    "fail_on_invalid_gpu_id": _NO_GPU,
    "max_cached_hist_node": "a bound of memory whose default is none",
    "max_row_perbatch": "has no effect any more",
    "num_feature": "is read off the data",
    "num_target": "one label per row",
    "num_trees": "is counted",
    "sparse_threshold": "for the storage of columns, no effect on the model",
    "specified_updater": "says whether updater was given",
    "tolerance": "for gblinear: the state it needs is not in a checkpoint",
    "updater_seq": "is made from updater",
    "validate_parameters": "the container does it, earlier",
    "version": "of the library",
}
