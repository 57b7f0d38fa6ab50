"""What an environment says of Studio: what is refused, at which line, in whose words; and what is not said."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from sagestack.settings import SettingsError, load_environment
from sagestack.settings.workbench.studio import IdleShutdown, Studio
from sagestack.settings.workbench.studio_people import known_studio_types

from tests.synthesis import copy_project

PEOPLE = "user_profiles: {ada: {}, grace: {}}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project"))


def problems(root: Path, studio: str) -> str:
    """What is said of an environment with this below `workbench.studio`, each line of it indented by two."""
    path = root / "environments/trial.yaml"
    lines = "".join(f"    {line}\n" for line in studio.splitlines())
    base = (root / "environments/dev.yaml").read_text()
    text = f"{base}\nworkbench:\n  network: {{cidr: 10.42.0.0/22}}\n  studio:\n{lines}"
    path.write_text(text)
    try:
        load_environment("trial", root)
    except SettingsError as error:
        return str(error)
    finally:
        path.unlink()
    return ""


@pytest.mark.parametrize(
    ("studio", "said"),
    [
        pytest.param(
            "idle_shutdown: {minutes: 30}",
            "studio.idle_shutdown.minutes: 30 does not fit (allowed: 60 to 525600 minutes: SageMaker shuts",
            id="idle for less than an hour",
        ),
        pytest.param(
            "idle_shutdown: {minutes: 90, min_minutes: 120}",
            "studio.idle_shutdown.min_minutes: 120 is more than minutes: 90",
            id="a shortest idle time that is longer",
        ),
        pytest.param(
            "idle_shutdown: {minutes: 90, max_minutes: 60}",
            "studio.idle_shutdown.max_minutes: 60 is less than minutes: 90",
            id="a longest idle time that is shorter",
        ),
        pytest.param(
            "instance_type: ml.t3.medum",
            "studio.instance_type: 'ml.t3.medum' is not an instance type for Studio; did you mean 'ml.t3.medium'",
            id="a type that does not exist",
        ),
        pytest.param(
            "instance_type: system", "'system' is not an instance type for Studio", id="the type of Studio Classic"
        ),
        pytest.param(
            "instance_type: ml.p2.xlarge",
            "'ml.p2.xlarge' is not an instance type for Studio",
            id="a type of other uses",
        ),
        pytest.param(
            "instance_types: [ml.m5.large]",
            "studio.instance_type: ml.t3.medium is not among instance_types (ml.m5.large)",
            id="a default type that is not allowed",
        ),
        pytest.param(
            "user_profiles: {ada: {instance_types: [ml.g5.xlarge]}}\nspaces: {research: {owner: ada}}",
            "spaces.research.instance_type: ml.t3.medium is not among instance_types (ml.g5.xlarge)",
            id="a space that its owner may not start",
        ),
        pytest.param(
            "user_profiles: {ada: {instance_types: []}}",
            "user_profiles.ada.instance_types: [] is not allowed",
            id="a person without a type",
        ),
        pytest.param(
            "user_profiles: {Ada Lovelace: {}}",
            "people by profile name: letters, digits and hyphens, at most 63",
            id="a profile's name with a space",
        ),
        pytest.param(
            f"{PEOPLE}\nspaces: {{research: {{owner: adda}}}}",
            "studio.spaces.research.owner: 'adda' is none of user_profiles; did you mean 'ada'?",
            id="a space of nobody",
        ),
        pytest.param(
            f"{PEOPLE}\nspaces: {{together: {{owner: ada, sharing: shared, app: code-editor}}}}",
            "studio.spaces.together.app: code-editor does not fit sharing: shared",
            id="Code Editor in a shared space",
        ),
        pytest.param(
            f"{PEOPLE}\nspaces: {{research: {{owner: ada, volume_size_in_gb: 200}}}}",
            "studio.spaces.research.volume_size_in_gb: 200 is more than storage.max_gb: 100",
            id="a volume that is too large",
        ),
        pytest.param(
            f"{PEOPLE}\nspaces: {{research: {{owner: ada, lifecycle_config: standart}}}}\n"
            "lifecycle_configs: {standard: {packages: [polars]}}",
            "'standart' is none of studio.lifecycle_configs; did you mean 'standard'?",
            id="a script that is not there",
        ),
        pytest.param(
            f"{PEOPLE}\nspaces: {{research: {{owner: ada, lifecycle_config: editor}}}}\n"
            "lifecycle_configs: {editor: {app: code-editor, packages: [polars]}}",
            "'editor' is for code-editor, and the space has jupyter-lab",
            id="a script of another app",
        ),
        pytest.param(
            "lifecycle_configs: {one: {always: true, packages: [polars]}, two: {always: true, examples: true}}",
            "studio.lifecycle_configs.one.always: true for 2 of jupyter-lab: SageMaker takes one",
            id="two scripts that always run",
        ),
        pytest.param(
            "lifecycle_configs: {one: {always: true, default: true, packages: [polars]}}",
            "studio.lifecycle_configs.one.default: true does not fit always: true",
            id="a default that always runs",
        ),
        pytest.param(
            f"{PEOPLE}\nspaces: {{research: {{owner: ada, lifecycle_config: basics}}}}\n"
            "lifecycle_configs: {basics: {always: true, examples: true}}",
            "studio.spaces.research.lifecycle_config: 'basics' runs always",
            id="a space that chooses what always runs",
        ),
        pytest.param(
            "lifecycle_configs: {one: {examples: true, script: mine.sh}}",
            "a script of your own and examples do not go together",
            id="examples beside a script of one's own",
        ),
        pytest.param(
            f"{PEOPLE}\nspaces: {{research: {{owner: ada, instance_type: ml.g6.xlarge}}}}",
            "studio.spaces.research.instance_type: ml.g6.xlarge is newer than what CloudFormation takes for a space",
            id="a type that CloudFormation does not take for a space",
        ),
        pytest.param(
            "user_profiles: {ada: {instance_type: ml.m7i.large}}\nspaces: {research: {owner: ada}}",
            "studio.user_profiles.ada.instance_type: ml.m7i.large is newer than what CloudFormation takes for a space",
            id="a type of its owner's that CloudFormation does not take for a space",
        ),
        pytest.param(
            "instance_types: [ml.t3.medium]\n"
            "user_profiles: {ada: {instance_type: ml.m5.large}}\nspaces: {research: {owner: ada}}",
            "studio.user_profiles.ada.instance_type: ml.m5.large is not among instance_types (ml.t3.medium)",
            id="a type of its owner's that is not allowed",
        ),
        pytest.param(
            "instance_type: ml.g7.2xlarge",
            "studio.instance_type: ml.g7.2xlarge is newer than what CloudFormation takes for a domain",
            id="a type that CloudFormation does not take for a domain",
        ),
        pytest.param(
            f"custom_images: {{mine: {{folder: images/mine, entrypoint: {'x' * 257}}}}}",
            "studio.custom_images.mine.entrypoint",
            id="an entry point that is too long",
        ),
        pytest.param(
            "custom_images: {mine: {folder: images/mine, arguments: ['']}}",
            "studio.custom_images.mine.arguments[0]",
            id="a blank argument",
        ),
        pytest.param(
            "custom_images: {mine: {folder: images/mine, environment_variables: {MINE: ''}}}",
            "studio.custom_images.mine.environment_variables.MINE",
            id="a blank variable of an image",
        ),
        pytest.param(
            "auth: identity-center\nuser_profiles: {ada: {owner: a@example.org}, lovelace: {owner: a@example.org}}",
            "'a@example.org' has 2 profiles: with auth: identity-center a person has one in a domain",
            id="two profiles of one person of Identity Center",
        ),
        pytest.param(
            "storage: {default_gb: 50, max_gb: 20}",
            "default_gb: 50 is more than max_gb: 20",
            id="a default above the most",
        ),
        pytest.param(
            "lifecycle_configs: {mine: {script: a.sh, packages: [polars]}}",
            "a script of your own and packages do not go together",
            id="a script and options",
        ),
        pytest.param(
            "lifecycle_configs: {mine: {}}", "it does nothing: say script, or", id="a script that does nothing"
        ),
        pytest.param(
            "lifecycle_configs: {mine: {script: ../a.sh}}",
            "mine.script: '../a.sh' leads elsewhere",
            id="a script elsewhere",
        ),
        pytest.param(
            "lifecycle_configs: {mine: {packages: ['--index-url=http://x']}}",
            "packages[0]: '--index-url=http://x' is not allowed (allowed: a package as pip or conda knows it",
            id="an option of pip",
        ),
        pytest.param(
            "lifecycle_configs: {one: {default: true, packages: [a]}, two: {default: true, packages: [b]}}",
            "lifecycle_configs.one.default: true for 2 of jupyter-lab: one can be the default",
            id="two defaults",
        ),
        pytest.param(
            "custom_images: {mine: {image_uri: 'docker.io/library/python:3.12'}}",
            "an image in ECR with its tag or digest",
            id="an image that is not in ECR",
        ),
        pytest.param(
            "custom_images: {mine: {image_uri: 111111111111.dkr.ecr.us-east-1.amazonaws.com/mine}}",
            "an image in ECR with its tag or digest",
            id="an image without a version",
        ),
        pytest.param("custom_images: {mine: {}}", "say either image_uri (an image in ECR) or folder", id="no image"),
        pytest.param("hidden_ml_tools: [JumpStarts]", "hidden_ml_tools", id="a tool that does not exist"),
        pytest.param("auth: sso", "studio.auth: 'sso' is not allowed (allowed: iam or identity-center)", id="a way in"),
        pytest.param("network: public", "studio.network: unknown key", id="a network of its own"),
        pytest.param(
            "custom_images: {mine: {folder: images/mine, kernels: []}}",
            "mine.kernels: unknown key",
            id="Classic's kernels",
        ),
    ],
)
def test_what_cannot_work_is_refused_at_its_line(root: Path, studio: str, said: str) -> None:
    text = problems(root, studio)

    assert said in text
    assert "environments/trial.yaml:" in text
    assert len(text.splitlines()) <= 2


def test_nothing_said_is_a_domain_that_shuts_down_and_shares_nothing(root: Path) -> None:
    assert problems(root, "{}") == ""
    studio = Studio()
    assert studio.idle_shutdown == IdleShutdown(minutes=60)
    assert (studio.docker_access, studio.notebook_output_sharing) == (False, False)


def test_everything_can_be_said(root: Path) -> None:
    """As the reference shows it."""
    text = (Path(__file__).parents[1] / "docs/how-to/work-in-studio.md").read_text()
    example = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    studio = yaml.safe_load(example)["workbench"]["studio"]

    assert problems(root, yaml.safe_dump(studio)) == ""


def test_nobody_idles_for_longer_than_the_domain_says_unless_it_says_so() -> None:
    assert (IdleShutdown(minutes=90).shortest, IdleShutdown(minutes=90).longest) == (90, 90)
    assert IdleShutdown(minutes=90, max_minutes=480).longest == 480


def test_a_profile_is_its_names_owners_unless_it_says_whose() -> None:
    studio = Studio.model_validate({"user_profiles": {"ada": {}, "gh": {"owner": "grace"}}})
    assert studio.owners == {"ada": "ada", "gh": "grace"}


def test_the_types_are_those_of_sagemakers_own_api() -> None:
    assert {"ml.t3.medium", "ml.g5.xlarge"} <= known_studio_types()
    assert "system" not in known_studio_types()
