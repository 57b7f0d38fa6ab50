"""Whether a loaded model's trees hold together: what neither XGBoost nor treelite checks before it follows an index."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import without_scipy  # noqa: F401  (before XGBoost)

import orjson  # isort: skip
import xgboost  # isort: skip


class Broken(ValueError):
    """A model that loads and would read outside of its arrays, or walk for ever, on some row."""


def check(booster: xgboost.Booster) -> None:
    """Follow every index of a model once.

    A flipped bit in a child's number or a feature's number goes unnoticed when a model is loaded, and takes the server
    down with the first row that comes by.

    Raises:
        Broken: says which tree and node.
    """
    learner: dict[str, Any] = orjson.loads(bytes(booster.save_raw("json")))["learner"]
    width = booster.num_features()
    if width < 1:
        raise Broken("has no features")
    parameters = learner["learner_model_param"]
    groups = max(1, int(parameters["num_class"]), int(parameters["num_target"]))
    for name in ("feature_names", "feature_types"):
        if len(learner[name]) not in (0, width):
            raise Broken(f"has {len(learner[name])} {name} for {width} features")
    bases = json.loads(parameters["base_score"])
    if not np.isfinite(np.array(bases, np.float64)).all() or np.size(bases) not in (1, groups):
        raise Broken(f"has the base score {parameters['base_score']} for {groups} outputs")
    ensemble = learner["gradient_booster"]
    if ensemble["name"] == "gblinear":
        weights = ensemble["model"]["weights"]
        if len(weights) != (width + 1) * groups or None in weights:
            raise Broken(
                f"has {len(weights)} weights, {width} features and {groups} outputs need {(width + 1) * groups}"
            )
        return
    if ensemble["name"] == "dart":
        drops = ensemble["weight_drop"]
        ensemble = ensemble["gbtree"]
        if len(drops) != len(ensemble["model"]["trees"]) or None in drops:
            raise Broken(f"has {len(drops)} weights for {len(ensemble['model']['trees'])} trees")
    model = ensemble["model"]
    trees, outputs = model["trees"], model["tree_info"]
    if len(trees) != len(outputs) or not all(0 <= output < groups for output in outputs):
        raise Broken("has trees of outputs that it does not have")
    starts = np.array(model.get("iteration_indptr", [0, len(trees)]))
    if starts[0] != 0 or starts[-1] != len(trees) or (np.diff(starts) < 0).any():
        raise Broken("has rounds that are not its trees")
    for index, tree in enumerate(trees):
        _check_tree(index, tree, width)


def _check_tree(index: int, tree: dict[str, Any], width: int) -> None:
    def array(name: str, kind: type = np.int64) -> NDArray[Any]:
        values = tree[name]
        if kind is np.float64 and None in values:
            raise Broken(f"tree {index}: {name} holds what is no number")
        return np.array(values, kind)

    def broken(nodes: NDArray[Any], what: str) -> None:
        if nodes.size:
            raise Broken(f"tree {index}, node {nodes[0]}: {what}")

    left, right = array("left_children"), array("right_children")
    features, conditions, kinds = array("split_indices"), array("split_conditions", np.float64), array("split_type")
    count = len(left)
    vector = int(tree["tree_param"]["size_leaf_vector"])
    if not (
        count == len(right) == len(features) == len(conditions) == len(kinds) == int(tree["tree_param"]["num_nodes"])
    ):
        raise Broken(f"tree {index}: its arrays have different lengths")
    if count < 1:
        raise Broken(f"tree {index}: has no node")
    inner = np.flatnonzero(left != -1)
    broken(np.flatnonzero((left == -1) != (right == -1)), "has one child")
    children = np.concatenate([left[inner], right[inner]])
    broken(np.concatenate([inner, inner])[(children < 1) | (children >= count)], "a child that is not there")
    # Each node but the root is the child of one node at most: with that, a walk from the root cannot come back.
    if len(np.unique(children)) != len(children):
        raise Broken(f"tree {index}: a node with two parents")
    broken(inner[features[inner] >= width], f"splits at a feature that is not among the {width}")
    broken(inner[features[inner] < 0], "splits at a negative feature")
    categorical = np.flatnonzero(kinds == 1)
    nodes, begins, sizes = array("categories_nodes"), array("categories_segments"), array("categories_sizes")
    if not (len(nodes) == len(begins) == len(sizes)) or set(nodes.tolist()) != set(categorical.tolist()):
        raise Broken(f"tree {index}: its categories belong to other nodes")
    total = len(tree["categories"])
    broken(nodes[(begins < 0) | (sizes < 0) | (begins + sizes > total)], "categories that are not there")
    if vector > 1 and "leaf_weights" in tree and len(tree["leaf_weights"]) % vector:
        raise Broken(f"tree {index}: its leaves have {vector} values each, and some lack one")
