"""The folder that a model's image is built from."""

from __future__ import annotations

import shutil
from pathlib import Path

from sagestack import settings

# What running the code leaves behind. Whatever the .dockerignore says, it must not change the image's name:
# two checkouts of one commit are one image.
LEFT_BEHIND = ["__pycache__", "*.pyc", ".*_cache", ".DS_Store", ".venv"]


def build_context(model: settings.Model, assembly: Path) -> Path:
    """The folder with the Dockerfile at its root.

    `own-container`: the model's own folder. `xgboost`: a copy of `model_code/images/xgboost`, in which the model's
    `model/` and `requirements.txt` have taken the places that the image keeps for them. A copy, because Docker and
    a zip alike know one folder only; all models share the layers below their own code. It is made below `assembly`,
    the folder that the synthesis writes to.

    Raises:
        ValueError: there is no Dockerfile, or `model` is not a package.
    """
    if model.training.kind == "own-container":
        if not (model.folder / "Dockerfile").is_file():
            raise ValueError(
                f"model_code/{model.name} has no Dockerfile, which describes the image that it runs in"
                " (training.kind: xgboost needs none)"
            )
        return model.folder
    return _with_the_models_own(model, model.folder.parent / "images" / model.training.kind, assembly)


def _with_the_models_own(model: settings.Model, image: Path, assembly: Path) -> Path:
    own_code, own_requirements = model.folder / "model", model.folder / "requirements.txt"
    if not (own_code / "preprocess.py").is_file() or not (own_code / "__init__.py").is_file():
        raise ValueError(
            f"model_code/{model.name}/model must be a package with the model's own preprocess:"
            " __init__.py and preprocess.py, with a function preprocess(paths)"
        )
    context = assembly / "build-contexts" / model.name
    if context.is_dir():
        shutil.rmtree(context)
    ignore = shutil.ignore_patterns(*LEFT_BEHIND)
    shutil.copytree(image, context, ignore=ignore)
    shutil.rmtree(context / "model")
    shutil.copytree(own_code, context / "model", ignore=ignore)
    if own_requirements.is_file():
        shutil.copyfile(own_requirements, context / "requirements-model.txt")
    return context
