"""What each model is, against how an environment serves it: what no file can be checked for alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sagestack.settings.environment import Environment
from sagestack.settings.errors import SettingsError, suggestion
from sagestack.settings.model import Model

_Found = tuple[tuple[str | int, ...], str]

_LAYOUTS = {
    # InvokeEndpointAsync takes neither TargetModel nor TargetContainerHostname:
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointAsync.html
    "asynchronous": ("single", "serial"),
    # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html (feature exclusions)
    "serverless": ("single",),
    # A component is one model of one container, and an endpoint of components has no other.
    "inference-components": ("single",),
    "real-time": ("single", "multi-model", "serial", "direct"),
}
"""How models may be laid out on each kind of endpoint."""


def check_fit(environment: Environment, models: Mapping[str, Model]) -> None:
    """Refuses an environment that does not fit its models.

    Raises:
        SettingsError: with a line for everything that does not fit.
    """
    problems = [
        environment.problem(text, ("models", name, *path))
        for name, model in models.items()
        if name in environment.models
        for path, text in _problems(environment, model, models)
    ]
    if problems:
        raise SettingsError(problems)


def _problems(environment: Environment, model: Model, models: Mapping[str, Model]) -> Iterator[_Found]:
    entry = environment.models[model.name]
    layout, kind = model.serving.layout, entry.endpoint.kind
    where = f"model_code/{model.name}/model.yaml says serving.layout: {layout}"
    if layout not in _LAYOUTS[kind]:
        fitting = [each for each, layouts in _LAYOUTS.items() if layout in layouts]
        yield ("endpoint", "kind"), f"{kind} does not fit: {where}, which is for {' and '.join(fitting)}"
        return
    if layout == "multi-model" and entry.served_version is not None:
        yield (
            ("served_version",),
            f"{entry.served_version} cannot be served: {where}, and its endpoint serves archives, not versions; write"
            " null here, and serves_archives: true below endpoint",
        )
    if entry.serves_archives and layout != "multi-model":
        yield ("endpoint", "serves_archives"), f"true does not fit: {where}; only multi-model endpoints serve archives"
    if layout in ("serial", "direct") and entry.is_served:
        yield from _beside(environment, model, models)


def _beside(environment: Environment, model: Model, models: Mapping[str, Model]) -> Iterator[_Found]:
    """The models that share the instances: each served here, in a version that these instances can run."""
    mine = environment.models[model.name].endpoint
    said = f"model_code/{model.name}/model.yaml says serving.beside"
    for name in model.serving.beside:
        if name not in models or name not in environment.models:
            yield (), f"{said}: {name}, and there is no such model{suggestion(name, models)}"
            continue
        other, laid_out = environment.models[name], models[name].serving.layout
        if other.served_version is None:
            yield (
                ("served_version",),
                f"{said}: {name}, of which this environment serves no version; pin models.{name}.served_version first",
            )
        elif laid_out == "multi-model":
            yield (), f"{said}: {name}, which has many models itself (serving.layout: multi-model)"
        elif other.endpoint.architecture != mine.architecture:
            yield (
                ("endpoint", "instance_type"),
                f"{mine.architecture}, and {said}: {name}, whose image is built for the {other.endpoint.architecture}"
                " processors of its own endpoint here; choose the same processors for both",
            )
