"""What a model is: `model_code/<name>/model.yaml`, the same in every environment."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FiniteFloat, PlainValidator, ValidationError, model_validator

from sagestack.settings import source
from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, FromPath, Misfit, SettingsError, described, suggestion
from sagestack.settings.project_files import PROJECT_ROOT, model_folders

NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


def _inside_the_folder(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(
            f"{path!r} leaves the model's folder (allowed: a path inside it, like data/{path.split('/')[-1]})"
        )
    return path


def _scalar(value: object) -> bool | int | float | str:
    # A union of four types would report four errors for one wrong value.
    match value:
        case str() if len(value) <= 2500:
            return value
        case bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
    raise ValueError(f"{value!r} is not allowed (allowed: text of up to 2500 characters, a number, true or false)")


# The bounds of the hyperparameters, content types and descriptions are SageMaker's own.
HyperparameterName = Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=256)]
HyperparameterValue = Annotated[bool | int | float | str, PlainValidator(_scalar)]
ContentType = Annotated[str, Field(pattern=r"^[-\w.+]+/[-\w.+]+$", max_length=256)]
ContentTypes = Annotated[
    list[ContentType], Field(min_length=1, max_length=20), Allowed("at least one media type, like text/csv")
]


class Data(Settings):
    """The sample that a first run trains on."""

    file: Annotated[
        str,
        Field(pattern=r"^[\w./-]+$", max_length=200),
        AfterValidator(_inside_the_folder),
        Allowed("the path of a file in the model's folder, in letters, digits and _ . - /"),
    ]


class Training(Settings):
    """What trains, judges and serves the model: Sagestack's XGBoost image, or one that the folder's Dockerfile describes."""

    kind: Annotated[Literal["xgboost", "own-container"], Allowed("xgboost or own-container")]
    hyperparameters: Annotated[
        dict[HyperparameterName, HyperparameterValue],
        Field(max_length=100),
        Allowed("at most 100 names in letters, digits and _ . -, each with text, a number, true or false"),
    ]

    @property
    def hyperparameter_texts(self) -> dict[str, str]:
        """The hyperparameters as the API wants them: strings, booleans in lower case."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in self.hyperparameters.items()
        }


class Quality(Settings):
    """What a trained model must score to be registered."""

    metric: Annotated[
        str,
        Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", max_length=200),
        Allowed("a path into evaluation.json, like regression_metrics.rmse.value"),
    ]
    at_most: Annotated[FiniteFloat | None, Allowed("a number")] = None
    at_least: Annotated[FiniteFloat | None, Allowed("a number")] = None

    @model_validator(mode="after")
    def _one_bound(self) -> Quality:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("say exactly one of at_most (lower is better) and at_least (higher is better)")
        return self

    @property
    def threshold(self) -> float:
        bound = self.at_most if self.at_most is not None else self.at_least
        if bound is None:
            raise AssertionError("validated: one of the two is there")
        return bound

    @property
    def lower_is_better(self) -> bool:
        return self.at_most is not None


class Serving(Settings):
    """What the server reads and writes."""

    content_types: ContentTypes
    response_types: ContentTypes
    p99_latency_in_ms: Annotated[float, Field(gt=0, le=60000), Allowed("milliseconds, more than 0 up to 60000")] = 500.0
    """The model's own budget: an update after which one request in a hundred takes longer is rolled back."""
    layout: Annotated[
        Literal["single", "multi-model", "serial", "direct"], Allowed("single, multi-model, serial or direct")
    ] = "single"
    """One container and model; one container with many models; several containers in a row; several, called by name."""
    beside: Annotated[list[str], Field(max_length=14), Allowed("names of other models, for serial and direct")] = []
    """The models whose containers stand beside (direct) or after (serial) this one's, each in its served version."""

    @property
    def mode(self) -> Literal["Serial", "Direct"] | None:
        """How SageMaker asks several containers; None where there is one."""
        match self.layout:
            case "serial":
                return "Serial"
            case "direct":
                return "Direct"
        return None

    @model_validator(mode="after")
    def _beside_fits_the_layout(self) -> Serving:
        takes_others = self.layout in ("serial", "direct")
        if takes_others and not self.beside:
            raise Misfit(
                (("beside",), f"nobody, and layout: {self.layout} is for several containers; name the other models")
            )
        if self.beside and not takes_others:
            raise Misfit(
                (
                    ("beside",),
                    f"{', '.join(self.beside)}, and layout: {self.layout} has one container; say layout: serial or direct",
                )
            )
        twice = sorted({name for name in self.beside if self.beside.count(name) > 1})
        if twice:
            raise Misfit((("beside",), f"{', '.join(twice)} stands twice; a container is called by its model's name"))
        return self


class Model(Settings):
    """One model: its folder, and what `model.yaml` there says."""

    name: Annotated[
        str,
        Field(pattern=NAME, max_length=40),
        Allowed("the folder: lower-case letters, digits, single hyphens, up to 40"),
        FromPath(),
    ]
    folder: Annotated[Path, FromPath()]
    description: Annotated[str, Field(min_length=1, max_length=1024), Allowed("text of 1 to 1024 characters")]
    data: Data
    training: Training
    quality: Quality
    serving: Serving

    @model_validator(mode="after")
    def _is_not_beside_itself(self) -> Model:
        if self.name in self.serving.beside:
            raise Misfit((("serving", "beside"), f"{self.name} is this model itself; name the others"))
        return self

    @property
    def served_together(self) -> list[str]:
        """The models whose containers share the instances, this one first."""
        return [self.name, *self.serving.beside]

    @property
    def data_file(self) -> Path:
        return self.folder / self.data.file


def load_models(root: Path = PROJECT_ROOT) -> dict[str, Model]:
    """Reads every `model_code/<name>/model.yaml`, by name.

    Raises `SettingsError` with everything that is wrong in all of them at once.
    """
    models: dict[str, Model] = {}
    problems: list[str] = []
    for name in model_folders(root):
        try:
            models[name] = _load(name, root)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return models


def load_model(name: str, root: Path = PROJECT_ROOT) -> Model:
    """Reads `model_code/<name>/model.yaml`. Raises `SettingsError`, also where there is no such model."""
    known = model_folders(root)
    if name not in known:
        raise SettingsError(
            [f"there is no model {name!r}{suggestion(name, known)} (models: {', '.join(known) or 'none'})"]
        )
    return _load(name, root)


def _load(name: str, root: Path) -> Model:
    folder = root / "model_code" / name
    try:
        file = source.read(folder / "model.yaml", root=root)
    except source.UnreadableError as error:
        raise SettingsError([str(error)]) from error
    from_path = {"name", "folder"} & set(file.content)
    if from_path:
        raise SettingsError(
            [file.problem(f"{key}: unknown key; the folder says it", path=(key,)) for key in sorted(from_path)]
        )
    try:
        model = Model.model_validate({**file.content, "name": name, "folder": folder})
    except ValidationError as error:
        raise SettingsError(described(error, Model, file)) from error
    if not model.data_file.is_file():
        raise SettingsError(
            [
                file.problem(
                    f"data.file: there is no file {model.data.file!r} in model_code/{name}", path=("data", "file")
                )
            ]
        )
    return model
