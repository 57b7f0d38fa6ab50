"""The platform with its housing model in a local cloud, and the example notebooks run there as a notebook instance's role."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from sagestack.settings import Environment, EnvironmentNames, load_environment, load_models
from sagestack.settings.workbench import Workbench

from stacks import FoundationStack, ServingStack, TrainingStack
from stacks.workbench import WorkbenchStack
from tests.hosted_images import BUCKET
from tests.housing_runs import DATA
from tests.local_cloud_fixtures import ROOT, LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer
from tests.synthesis import copy_project, flags

EXAMPLES = ROOT / "notebooks" / "examples"
NOTEBOOK_PYTHON = ROOT / ".venv-notebook" / "bin" / "python"
SDK_PYTHON = ROOT / ".venv-sdk" / "bin" / "python"
NAMES = EnvironmentNames("local")
HOUSING = NAMES.model("housing")
NOTEBOOK = "explore"
WORKBENCH: dict[str, Any] = {
    "network": {"cidr": "10.42.0.0/22"},
    # No lifecycle config: its scripts want a container engine, and the notebooks need nothing of them.
    "notebooks": {
        NOTEBOOK: {"instance_type": "ml.t3.medium", "grants": {"models": ["housing"], "jobs": True}},
        "other": {"instance_type": "ml.t3.medium"},
    },
}
STACKS = (NAMES.foundation_stack, HOUSING.training_stack, NAMES.workbench_stack, HOUSING.serving_stack)

# Runs in .venv-notebook. What the cells printed and raised is in the notebook that it writes.
RUNNER = """
import sys, nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

source, result = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": source.rpartition("/")[0]}})
try:
    client.execute()
except CellExecutionError:
    pass
nbformat.write(notebook, result)
"""
