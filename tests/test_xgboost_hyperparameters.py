"""What training may be told: every fault is found before any data is read, all at once, in the user's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from xgboost_container.contract import UserError
from xgboost_container.training import metrics as metric_table
from xgboost_container.training.hyperparameters import Hyperparameters, parse
from xgboost_container.training.library import has_metric, objectives
from xgboost_container.training.parameter_table import ALIASES, GONE, NOT_OFFERED, TABLE


def chosen(**given: Any) -> Hyperparameters:
    return parse({"num_round": "3", **given})


def fault(**given: Any) -> str:
    with pytest.raises(UserError) as raised:
        parse({"num_round": "3", **given})
    message = str(raised.value)
    assert "\n" not in message
    return message


# --- one by one


def test_values_come_as_strings_and_as_the_json_that_sdks_make_of_them() -> None:
    for text in ("5", '"5"', " 5 ", "5.0", 5):
        assert parse({"num_round": text}).num_round == 5


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("max_depth", "-1", "max_depth must be a whole number of at least 0, got '-1'"),
        ("max_depth", "3.5", "max_depth must be a whole number of at least 0, got '3.5'"),
        ("max_depth", "deep", "max_depth must be a whole number of at least 0, got 'deep'"),
        ("max_depth", "", "max_depth must be a whole number of at least 0, got ''"),
        ("eta", "1.01", "eta must be a number of at least 0 and at most 1, got '1.01'"),
        ("eta", "nan", "eta must be a number of at least 0 and at most 1, got 'nan'"),
        ("lambda", "inf", "lambda must be a number of at least 0, got 'inf'"),
        ("subsample", "0", "subsample must be a number of more than 0 and at most 1, got '0'"),
        ("seed", "2147483648", "of at least -2147483647 and at most 2147483647, got '2147483648'"),
        ("seed", "1_0", "seed must be a whole number"),
        ("num_round", "0", "num_round must be a whole number of at least 1 and at most 1000000, got '0'"),
        ("num_round", "1e400", "num_round must be a whole number"),
        ("csv_weights", "2", "csv_weights must be 0, 1, true or false, got '2'"),
        ("tree_method", "fast", "tree_method must be one of auto, exact, approx, hist, got 'fast'"),
        ("_kfold", "1", "_kfold must be a whole number of at least 2 and at most 1000, got '1'"),
        ("monotone_constraints", "(2,0)", "monotone_constraints must be -1, 0 or 1 per feature"),
        ("interaction_constraints", "[1, 2]", "interaction_constraints must be a list of lists of features"),
        ("interaction_constraints", "[" * 5000, "interaction_constraints must be a list of lists of features"),
        ("feature_names", "a,,b", "feature_names must be words with commas between them"),
        ("max_bin", "1", "max_bin must be a whole number of at least 2 and at most 65536, got '1'"),
    ],
)
def test_a_value_out_of_bounds_is_told_with_its_name_its_bound_and_itself(name: str, value: str, told: str) -> None:
    assert told in fault(**{name: value})


def test_all_faults_are_told_at_once() -> None:
    message = fault(max_depth="-1", eta="2", colour="red", objective="reg:nothing")
    assert message.startswith("hyperparameters.json: ")
    for part in ("max_depth must", "eta must", "colour: there is no such", "objective must be one of"):
        assert part in message


def test_the_number_of_rounds_must_be_given() -> None:
    with pytest.raises(UserError, match="num_round is missing"):
        parse({})


@pytest.mark.parametrize(
    ("name", "meant"),
    [("max_dept", "max_depth"), ("n_estimators", "num_round"), ("learningrate", "learning_rate"), ("kfold", "_kfold")],
)
def test_a_misspelt_name_is_answered_with_the_right_one(name: str, meant: str) -> None:
    assert f"{name}: there is no such hyperparameter, did you mean {meant}?" in fault(**{name: "1"})


def test_names_of_xgboosts_other_interface_mean_the_same() -> None:
    assert (
        chosen(learning_rate="0.5", reg_lambda="2", random_state="7").params.items()
        >= {
            "eta": 0.5,
            "lambda": 2.0,
            "seed": 7,
        }.items()
    )
    assert "reg_alpha and alpha are the same hyperparameter" in fault(alpha="1", reg_alpha="2")


def test_what_sagemaker_adds_for_itself_is_passed_over() -> None:
    assert chosen(sagemaker_region="us-east-1", _tuning_objective_name="x", sagemaker_job_name='"a"').chosen == {
        "num_round": 3
    }


def test_lists_are_taken_with_commas_and_as_json() -> None:
    for text in ("auc,error", '["auc", "error"]', '"auc,error"', "['auc', 'error']"):
        assert chosen(objective="binary:logistic", eval_metric=text).eval_metrics == ("auc", "error")


# --- what is gone


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("tree_method", "gpu_hist", "hist gives the same model"),
        ("sketch_eps", "0.01", "use max_bin"),
        ("predictor", "gpu_predictor", "trains on CPUs"),
        ("use_dask_gpu_training", "true", "trains on CPUs"),
        ("device", "cuda", "trains on CPUs"),
        ("process_type", "update", "needs a model to start from"),
        ("lambda_bias", "1", "leave it out"),
        ("silent", "1", "use verbosity"),
        ("updater", "grow_skmaker", "updater must be of grow_colmaker"),
        ("sampling_method", "gradient_based", "sampling_method must be one of uniform"),
    ],
)
def test_what_xgboost_no_longer_has_is_refused_with_what_replaced_it(name: str, value: str, instead: str) -> None:
    message = fault(**{name: value})
    assert name in message
    assert value in message
    assert instead in message


def test_what_is_gone_is_accepted_where_it_asks_for_what_happens_anyway() -> None:
    made = chosen(sketch_eps="0.03", predictor="auto", dsplit="row", deterministic_histogram="true")
    assert not set(made.params) & set(GONE) - {"seed_per_iteration"}
    assert [remark.partition("=")[0] for remark in made.remarks] == [
        "sketch_eps",
        "predictor",
        "dsplit",
        "deterministic_histogram",
    ]


def test_the_old_name_of_squared_error_is_understood() -> None:
    made = chosen(objective="reg:linear")
    assert made.objective == made.params["objective"] == "reg:squarederror"
    assert "reg:squarederror" in made.remarks[0]


# --- together


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"objective": "multi:softprob"}, "num_class is missing: objective multi:softprob needs"),
        ({"num_class": "3"}, "num_class is for objective multi:*, got objective reg:squarederror"),
        ({"eval_metric": "auc"}, "eval_metric auc is for objective binary:*"),
        ({"eval_metric": "mlogloss", "objective": "binary:logistic"}, "is for objective multi:*"),
        ({"eval_metric": "rmse,nope,auc@x"}, "eval_metric must be of rmse"),
        ({"_tuning_objective_metric": "validation:nope"}, "_tuning_objective_metric must be of rmse"),
        ({"_tuning_objective_metric": "test:rmse"}, "_tuning_objective_metric must begin with train: or validation:"),
        ({"rate_drop": "0.5"}, "rate_drop is for booster dart, got booster gbtree"),
        ({"booster": "gblinear", "max_depth": "3"}, "max_depth is for booster gbtree and dart, got booster gblinear"),
        ({"feature_selector": "greedy"}, "feature_selector is for booster gblinear"),
        ({"booster": "gblinear", "updater": "prune"}, "updater must be of coord_descent, shotgun"),
        ({"updater": "grow_colmaker,grow_histmaker"}, "updater must have exactly one that grows trees"),
        ({"tweedie_variance_power": "1.2"}, "tweedie_variance_power is for objective reg:tweedie"),
        ({"max_depth": "0", "grow_policy": "lossguide"}, "max_depth 0 means no limit and needs max_leaves"),
        ({"tree_method": "exact", "max_leaves": "8"}, "max_leaves is for tree_method hist and approx"),
        ({"_num_cv_round": "2"}, "_num_cv_round repeats the k-fold cross validation and needs _kfold"),
        ({"objective": "reg:quantileerror"}, "quantile_alpha is missing"),
        ({"feature_names": "a,b,a"}, "feature_names has a more than once"),
        ({"feature_names": "a,b[0]"}, "feature_names must not have"),
        ({"feature_types": "q,x"}, "feature_types must be of q"),
        ({"feature_types": "q,c", "booster": "gblinear"}, "cannot train on"),
        (
            {"objective": "binary:logistic", "base_score": "2"},
            "XGBoost says: Check failed: is_valid: base_score must be",
        ),
        (
            {"tree_method": "exact", "colsample_bynode": "0.5"},
            "XGBoost says: column sample by node is not yet supported",
        ),
    ],
)
def test_hyperparameters_that_do_not_go_together_are_refused(given: dict[str, str], told: str) -> None:
    assert told in fault(**given)


def test_a_hyperparameter_without_effect_is_accepted_at_its_default() -> None:
    made = chosen(rate_drop="0", one_drop="0", tweedie_variance_power="1.5", top_k="0")
    assert not set(made.params) & {"rate_drop", "one_drop", "tweedie_variance_power", "top_k"}


def test_the_tuning_jobs_metric_comes_last_because_early_stopping_watches_the_last() -> None:
    made = chosen(
        objective="binary:logistic", eval_metric="auc,logloss,error", _tuning_objective_metric="validation:auc"
    )
    assert made.eval_metrics == ("logloss", "error", "auc")


def test_metrics_of_the_container_are_kept_from_xgboost() -> None:
    both = chosen(objective="binary:logistic", eval_metric="accuracy,auc")
    assert both.params["eval_metric"] == ["auc"]
    own = chosen(objective="binary:logistic", eval_metric="f1")
    assert own.params["disable_default_eval_metric"] is True


@pytest.mark.parametrize("objective", objectives())
def test_every_objective_of_the_library_can_be_chosen(objective: str) -> None:
    more = {"num_class": "3"} if objective.startswith("multi:") else {}
    more |= {"quantile_alpha": "0.5"} if objective == "reg:quantileerror" else {}
    chosen(objective=objective, **more)


def test_every_metric_of_the_table_is_one_of_the_librarys_or_of_the_containers() -> None:
    assert [name for name in metric_table.OF_XGBOOST if not has_metric(name)] == []
    assert [name for name in metric_table.OF_CONTAINER if has_metric(name)] == []
    assert not has_metric("nonsense")


# --- the data


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"feature_names": "a,b"}, "feature_names has 2 entries, the data has 3 features"),
        ({"feature_types": "q,q,q,c"}, "feature_types has 4 entries, the data has 3 features"),
        ({"monotone_constraints": "(1,0,0,1)"}, "monotone_constraints has 4 entries, the data has 3 features"),
        ({"monotone_constraints": '{"age": 1}'}, "'age' names a feature, and the features have no names"),
        ({"interaction_constraints": "[[0, 7]]"}, "there is no feature 7, the data has 3 features, from 0"),
    ],
)
def test_what_depends_on_the_width_of_the_data_is_checked_against_it(given: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as raised:
        chosen(**given).check_features(3, None)
    assert told in str(raised.value)


def test_a_feature_that_is_misspelt_in_a_constraint_is_named() -> None:
    with pytest.raises(UserError, match="there is no feature 'agee', did you mean age"):
        chosen(monotone_constraints='{"agee": 1}').check_features(2, ("age", "size"))


# --- the table


def _keys(config: Any) -> set[str]:
    if isinstance(config, list):
        return set().union(*(_keys(item) for item in config)) if config else set()
    if not isinstance(config, dict):
        return set()
    inner = set().union(*(_keys(value) for value in config.values())) if config else set()
    return {key for key, value in config.items() if not isinstance(value, dict | list)} | inner


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
@pytest.mark.parametrize("objective", objectives())
def test_the_table_knows_everything_that_the_installed_library_can_be_told(booster: str, objective: str) -> None:
    import xgboost
    from xgboost_container.training import library

    rows = library._rows(objective, 3)
    params: dict[str, Any] = {"booster": booster, "objective": objective, "verbosity": 0, "nthread": 1}
    params |= {"num_class": 3} if objective.startswith("multi:") else {}
    params |= {"quantile_alpha": 0.5} if objective == "reg:quantileerror" else {}
    trained = xgboost.Booster(params, [rows])
    trained.update(rows, 0)
    known = {*TABLE, *ALIASES, *GONE, *NOT_OFFERED}
    assert _keys(json.loads(trained.save_config())) - known == set()


def test_defaults_are_those_of_the_installed_library() -> None:
    import xgboost
    from xgboost_container.training import library

    rows = library._rows("reg:squarederror", 0)
    trained = xgboost.Booster({"verbosity": 0, "booster": "dart"}, [rows])
    trained.update(rows, 0)
    found: dict[str, str] = {}

    def collect(config: Any) -> None:
        for key, value in config.items():
            if isinstance(value, dict):
                collect(value)
            elif isinstance(value, str):
                found[key] = value

    collect(json.loads(trained.save_config()))
    for name, parameter in TABLE.items():
        if parameter.default is None or name not in found or name in ("booster", "objective"):
            continue
        default = parameter.default
        written = found[name]
        assert (float(written) == float(default)) if not isinstance(default, str) else written == default, name  # type: ignore[arg-type]


def test_everything_in_the_table_reaches_something_in_the_installed_library() -> None:
    import xgboost
    from xgboost_container.training import library

    found: set[str] = {"verbosity"}  # the one that is of the process, not of a booster
    cases = [("gbtree", objective) for objective in objectives()] + [("dart", "reg:squarederror")]
    for booster, objective in [*cases, ("gblinear", "reg:squarederror")]:
        rows = library._rows(objective, 3)
        params: dict[str, Any] = {"booster": booster, "objective": objective, "verbosity": 0, "nthread": 1}
        params |= {"num_class": 3} if objective.startswith("multi:") else {}
        params |= {"quantile_alpha": 0.5} if objective == "reg:quantileerror" else {}
        trained = xgboost.Booster(params, [rows])
        trained.update(rows, 0)
        found |= _keys(json.loads(trained.save_config()))
    # Read by updaters when they run, and in nobody's configuration.
    found |= {"top_k"}
    assert {name for name, parameter in TABLE.items() if not parameter.ours} - found == set()


@pytest.mark.parametrize(
    "given",
    [
        {"objective": "multi:softmax", "num_class": "three"},
        {"objective": "reg:quantileerror", "quantile_alpha": "(0.5"},
        {"monotone_constraints": "(1,0"},
    ],
)
def test_a_wrong_value_is_told_once_and_is_not_missing_too(given: dict[str, str]) -> None:
    with pytest.raises(UserError) as raised:
        parse({"num_round": "1", **given})
    assert "must be" in str(raised.value)
    assert "; " not in str(raised.value)
    assert "missing" not in str(raised.value)
