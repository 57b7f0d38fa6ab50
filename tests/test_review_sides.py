"""Both sides of a change: which commit it is compared with, that nothing of the user's is touched, and what is made only once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import aws_cdk as cdk
import jsii
import pytest
from aws_cdk import aws_s3 as s3
from sagestack.cli.errors import CliError
from sagestack.review.assembly import Assembly, read_assembly
from sagestack.review.results import Action, ResourceChange, Severity
from sagestack.review.run import CACHE, Analyses, Outcome, run_review
from sagestack.review.sides import cache as cache_module
from sagestack.review.sides import synthesis
from sagestack.review.sides.cache import Cache
from sagestack.review.sides.checkout import of_working_tree
from sagestack.review.sides.git import Repository
from sagestack.review.sides.synth import Synthesizer, context_of
from sagestack.review.sides.traced_app import Recorder

from constructs import Construct
from tests import review_projects
from tests.checkout import Checkout
from tests.review_projects import GitProject, Seen

# Real repositories and real synths, some twenty seconds in all.
pytestmark = pytest.mark.long

BUCKET = review_projects.BUCKET
TOPIC = {"Alarms": {"Type": "AWS::SNS::Topic"}}


@pytest.fixture
def real_synth() -> None:
    """Asked for by tests that start the program which runs app.py."""


@pytest.fixture(autouse=True)
def quick_synth(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_synth" not in request.fixturenames:
        review_projects.synthesize_in_this_process(monkeypatch)


@pytest.fixture
def project(tmp_path: Path) -> GitProject:
    return review_projects.make(tmp_path / "project")


def review(project: GitProject, base: str = "main", seen: Seen | None = None, **options: Any) -> Outcome:
    return run_review(project.root, base, analyses=(seen or Seen()).analyses, **options)


def refused(project: GitProject, base: str = "main", **options: Any) -> CliError:
    with pytest.raises(CliError) as caught:
        review(project, base, **options)
    return caught.value


# --- Which two states ---


def test_the_head_is_the_working_tree_with_what_is_not_committed_and_not_ignored(project: GitProject) -> None:
    project.environment("dev", BUCKET | TOPIC)
    project.write("untracked.txt", "new")
    project.write("cdk.out/ignored.txt", "not this")
    seen = Seen()
    found = review(project, seen=seen).review
    before, after = seen.templates()
    assert before
    assert after
    assert (set(before["Resources"]), set(after["Resources"])) == ({"Data"}, {"Data", "Alarms"})
    assert ("untracked.txt" in before["Metadata"]["files"], "untracked.txt" in after["Metadata"]["files"]) == (
        False,
        True,
    )
    assert not any("ignored" in name for name in after["Metadata"]["files"])
    assert (found.head.label, found.head.is_dirty) == ("the working tree", True)
    assert found.base.commit == found.head.commit == project.git("rev-parse", "HEAD")


def test_a_clean_tree_is_called_clean(project: GitProject) -> None:
    assert not review(project).review.head.is_dirty


def test_a_file_that_is_deleted_but_not_committed_is_not_in_the_head(project: GitProject) -> None:
    project.environment("prod")
    project.commit()
    (project.root / "environments/prod.yaml").unlink()
    found = review(project).review
    assert [(each.environment, each.is_gone) for each in found.environments] == [("dev", False), ("prod", True)]


def test_a_named_head_is_that_commit_and_not_the_working_tree(project: GitProject) -> None:
    project.git("checkout", "--quiet", "-b", "topic")
    project.environment("dev", BUCKET | TOPIC)
    project.commit()
    project.environment("dev", {})
    seen = Seen()
    found = review(project, head="topic", seen=seen).review
    _, after = seen.templates()
    assert after
    assert set(after["Resources"]) == {"Data", "Alarms"}
    assert (found.head.label, found.head.is_dirty) == ("topic", False)


def test_the_base_is_where_the_change_left_it_as_in_a_pull_request(project: GitProject) -> None:
    start = project.git("rev-parse", "HEAD")
    project.git("checkout", "--quiet", "-b", "topic")
    project.environment("dev", BUCKET | TOPIC)
    project.commit()
    project.git("checkout", "--quiet", "main")
    project.environment("dev", {})
    project.commit()
    project.git("checkout", "--quiet", "topic")
    seen = Seen()
    found = review(project, seen=seen).review
    before, _ = seen.templates()
    assert before
    assert found.base.commit == start
    assert set(before["Resources"]) == {"Data"}  # what others did on main since is not shown as undone
    assert "where the change left main" in found.notes[0]
    assert "1 commit that is not in it" in found.notes[0]


def test_states_with_no_history_in_common_are_compared_as_they_are(project: GitProject) -> None:
    project.git("checkout", "--quiet", "--orphan", "other")
    project.environment("dev", {})
    project.commit()
    found = review(project).review
    assert found.base.commit == project.git("rev-parse", "main")
    assert "no history in common" in found.notes[0]


def test_a_project_may_be_a_folder_of_its_repository(tmp_path: Path) -> None:
    project = review_projects.make(tmp_path, below="deep/platform")
    (tmp_path / "elsewhere.txt").write_text("not ours")
    project.environment("dev", BUCKET | TOPIC)
    seen = Seen()
    found = review(project, seen=seen).review
    before, after = seen.templates()
    assert before
    assert after
    assert (set(before["Resources"]), set(after["Resources"])) == ({"Data"}, {"Data", "Alarms"})
    assert "app.py" in before["Metadata"]["files"]
    assert found.head.is_dirty


def test_awkward_files_are_the_same_on_both_sides(project: GitProject) -> None:
    project.write("a name\nof two lines", "x")
    project.write("größe", "y")
    (project.root / "link").symlink_to("app.py")
    project.write("program", "#!/bin/sh\n").chmod(0o755)
    project.commit()
    outcome = review(project)
    assert (outcome.synthesized, outcome.reused) == (1, 0)  # since they are equal to the bit, one synth serves both
    project.write("program", "#!/bin/sh\n").chmod(0o644)
    assert review(project).synthesized == 1


def test_nothing_of_the_users_is_touched(project: GitProject) -> None:
    project.environment("dev", BUCKET | TOPIC)
    project.write("untracked.txt", "new")

    def state() -> tuple[bytes, str, str, str]:
        worktrees, stashes = project.git("worktree", "list"), project.git("stash", "list")
        return (project.root / ".git/index").read_bytes(), worktrees, stashes, project.git("status", "--porcelain")

    before = state()
    (project.root / "app.py").touch()  # which would make git refresh its index
    review(project)
    assert state() == before
    assert not list((project.root / CACHE / "sides").glob("work-*"))


# --- How a side is synthesized ---


@pytest.mark.usefixtures("real_synth")
def test_a_synth_gets_no_credentials_and_nothing_else_that_the_cache_does_not_know(
    project: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "GITHUB_TOKEN",
        "CDK_DEFAULT_ACCOUNT",
        "SOMETHING",
    ):
        monkeypatch.setenv(name, "secret")
    seen = Seen()
    review(project, seen=seen)
    _, after = seen.templates()
    assert after
    passed = set(after["Metadata"]["variables"])
    assert {name for name in passed if name.startswith("AWS")} == {
        "AWS_CONFIG_FILE",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_SHARED_CREDENTIALS_FILE",
    }
    assert not passed & {"GITHUB_TOKEN", "CDK_DEFAULT_ACCOUNT", "SOMETHING"}


def test_the_app_gets_the_context_that_the_cdk_cli_would_give(project: GitProject) -> None:
    project.write("cdk.context.json", json.dumps({"looked-up": 1, "flag": False}))
    settings = {"context": {"flag": True}, "versionReporting": False, "pathMetadata": False, "staging": False}
    project.write("cdk.json", json.dumps(settings))
    assert context_of(project.root, {"env": "dev", "part": "bootstrap"}) == {
        "env": "dev",
        "part": "bootstrap",
        "sagestack:review": True,
        "flag": True,
        "looked-up": 1,
        "aws:cdk:enable-asset-metadata": True,
        "aws:cdk:disable-version-reporting": True,
        "aws:cdk:disable-asset-staging": True,
        "@aws-cdk/core:failSynthOnValidationErrors": False,
    }


@pytest.mark.usefixtures("real_synth")
def test_an_app_that_breaks_a_rule_is_reviewed_all_the_same(project: GitProject) -> None:
    project.write("breaks-rules", "")
    project.commit()
    assert [each.environment for each in review(project).review.environments] == ["dev"]


@pytest.mark.usefixtures("real_synth")
def test_a_base_that_does_not_synthesize_is_named_with_its_last_words(project: GitProject) -> None:
    for name in ("dev", "prod"):
        project.write(f"environments/{name}.yaml", "broken: as it was")
    project.commit()
    broken = project.git("rev-parse", "HEAD")
    for name in ("dev", "prod"):
        project.environment(name)
    error = refused(project, "HEAD")
    assert error.code == "synth-failed"
    assert error.exit_code == 1
    assert f"The base, HEAD ({broken[:12]}), does not synthesize for dev:" in error.message
    assert "environments/dev.yaml: broken: as it was" in error.message
    assert "a line before it" in error.message
    assert error.hint == "Choose another base: --base REF."
    assert [(each["side"], each["environment"]) for each in error.details["failed"]] == [
        ("base", "dev"),
        ("base", "prod"),
    ]
    # What did synthesize is kept, whole; what did not has left nothing.
    kept = sorted((project.root / CACHE / "sides").glob("*/*/content.json"))
    assert [path.parent.name for path in kept] == ["dev", "prod"]
    assert len({path.parent.parent for path in kept}) == 1


def test_a_head_that_does_not_synthesize_is_no_fault_of_the_base(project: GitProject) -> None:
    project.write("environments/dev.yaml", "broken: just now")
    error = refused(project)
    assert "The head, the working tree, does not synthesize for dev:" in error.message
    assert error.hint
    assert "make synth" in error.hint


@pytest.mark.usefixtures("real_synth")
def test_a_mistake_in_app_py_is_shown_without_the_way_to_it(project: GitProject) -> None:
    project.write("app.py", "def (\n")
    error = refused(project)
    assert "SyntaxError: invalid syntax" in error.message
    assert 'File "app.py", line 1' in error.message
    assert "runpy" not in error.message
    assert "traced_app" not in error.message


@pytest.mark.usefixtures("real_synth")
def test_an_app_that_imports_the_package_of_another_checkout_is_refused(project: GitProject) -> None:
    project.write("sagestack.py", "")  # would be found first nowhere: constructs/ comes before
    assert review(project).synthesized == 2
    project.write("constructs/sagestack/__init__.py", "__file__ = '/elsewhere/sagestack/__init__.py'\n")
    assert "finds /elsewhere/sagestack/__init__.py" in refused(project).message


APP_WITH_MEMORY = """\
import json
import os
import sys
from pathlib import Path

from sagestack import counted

context = json.loads(Path(os.environ["CONTEXT_OVERFLOW_LOCATION_ENV"]).read_text())
counted.times += 1
output = Path(os.environ["CDK_OUTDIR"])
(output / "half").write_text("")
if context["env"] == "prod":
    sys.exit("not beside others")
(output / "manifest.json").write_text(json.dumps({"env": context["env"], "times": counted.times}))
"""


@pytest.mark.usefixtures("real_synth")
def test_what_is_made_in_one_process_is_as_if_each_was_alone_and_what_fails_leaves_nothing(
    project: GitProject, tmp_path: Path
) -> None:
    project.write("app.py", APP_WITH_MEMORY)
    project.write("constructs/sagestack/counted.py", "times = 0\n")
    outputs = {name: tmp_path / f"{name}.out" for name in ("dev", "prod", "staging")}
    requests = [({"env": name}, output) for name, output in outputs.items()]
    Synthesizer(project.root).synthesize_together(project.root, requests)
    made = {name: json.loads((outputs[name] / "manifest.json").read_text()) for name in ("dev", "staging")}
    assert made == {name: {"env": name, "times": 1} for name in made}
    assert not outputs["prod"].exists()
    assert sorted(path.name for path in tmp_path.glob("*.out")) == ["dev.out", "staging.out"]


@pytest.mark.usefixtures("real_synth")
def test_what_cannot_be_made_beside_others_is_made_alone(project: GitProject) -> None:
    for name in ("prod", "staging"):
        project.environment(name)
    app = (project.root / "app.py").read_text()
    project.write("app.py", f'{app}\nif file and context["env"] == "prod":\n    sys.exit("not beside others")\n')
    project.commit()
    project.environment("prod", BUCKET | TOPIC)
    seen = Seen()
    outcome = review(project, seen=seen)
    assert (outcome.synthesized, sorted(seen.pairs)) == (6, ["dev", "prod", "staging"])
    before, after = seen.templates("prod")
    assert before
    assert after
    assert set(after["Resources"]) - set(before["Resources"]) == {"Alarms"}


# --- Environments ---


def test_an_environment_of_one_side_is_new_or_gone(tmp_path: Path) -> None:
    project = review_projects.make(tmp_path, "dev", "old")
    (project.root / "environments/old.yaml").unlink()
    project.environment("new")
    states = {each.environment: (each.is_new, each.is_gone) for each in review(project).review.environments}
    assert states == {"dev": (False, False), "new": (True, False), "old": (False, True)}


def test_only_the_environments_that_are_asked_for_are_synthesized(tmp_path: Path) -> None:
    project = review_projects.make(tmp_path, "dev", "prod")
    outcome = review(project, environments=["prod"])
    assert [each.environment for each in outcome.review.environments] == ["prod"]
    assert outcome.synthesized == 1


def test_an_environment_that_is_on_neither_side_is_refused_with_what_comes_near(project: GitProject) -> None:
    error = refused(project, environments=["dve"])
    assert error.message == "There is no environment 'dve' on either side; did you mean 'dev'? (known: dev)."
    assert error.code == "settings"


def test_everything_is_new_against_a_base_from_before_this_project(tmp_path: Path) -> None:
    old = GitProject(tmp_path)
    old.write("README.md", "another life")
    old.commit()
    project = review_projects.make(tmp_path)
    found = review(project, "main~1").review
    assert found.environments[0].is_new
    assert "main~1 is from before this project: it has no app.py" in found.notes[0]


def test_a_base_whose_app_is_no_sagestack_is_before_this_project_too(tmp_path: Path) -> None:
    old = GitProject(tmp_path)
    for name in ("app.py", "cdk.json", "environments/dev.yaml"):
        old.write(name, "{}")
    old.commit()
    project = review_projects.make(tmp_path)
    found = review(project, "main~1").review
    assert found.environments[0].is_new
    assert "it has no constructs/sagestack/__init__.py" in found.notes[0]


def test_the_pins_of_the_laptop_are_the_same_on_both_sides_for_the_models_that_there_are(tmp_path: Path) -> None:
    project = review_projects.make(tmp_path, "local")
    project.environment("local", {"models": {"housing": {}}})
    project.commit()
    project.environment("local", {"models": {"housing": {}, "cars": {}}})
    project.write("environments/local.pins.yaml", "models: {housing: {served_version: 3}, cars: {served_version: 1}}")
    seen = Seen()
    review(project, seen=seen)
    before, after = seen.templates("local")
    assert before
    assert after
    assert json.loads(before["Metadata"]["pins"]) == {"models": {"housing": {"served_version": 3}}}
    assert set(json.loads(after["Metadata"]["pins"])["models"]) == {"housing", "cars"}


def test_another_version_of_the_cdk_is_said_since_one_is_installed(project: GitProject) -> None:
    project.write("requirements.txt", "aws-cdk-lib==2.275.0\nattrs==1.0\n")
    project.commit()
    project.write("requirements.txt", "aws-cdk-lib==2.280.0\nattrs==2.0\n")
    (note,) = review(project).review.notes
    assert note.startswith("The change moves aws-cdk-lib 2.275.0 to 2.280.0.")


# --- What is deployed apart ---


def test_who_may_deploy_an_environment_is_reviewed_with_it_but_not_for_the_local_cloud(tmp_path: Path) -> None:
    project = review_projects.make(tmp_path, "dev", "local")
    project.write("stacks/bootstrap.py", json.dumps({"Role": {"Type": "AWS::IAM::Role"}}))
    project.commit()
    project.environment("dev", TOPIC)
    seen = Seen()
    review(project, seen=seen)
    stacks = {name: [list(side.stacks) for side in pair if side] for name, pair in seen.pairs.items()}
    assert stacks == {
        "dev": [["sagestack-dev-bootstrap", "sagestack-dev-foundation"]] * 2,
        "local": [["sagestack-local-foundation"]] * 2,
    }
    assert all(side.resources for side in seen.pairs["dev"] if side)


def test_a_change_of_who_may_deploy_says_who_brings_it_about(project: GitProject) -> None:
    project.write("stacks/bootstrap.py", json.dumps({"Role": {"Type": "AWS::IAM::Role"}}))

    def changes(before: Assembly, after: Assembly) -> tuple[ResourceChange, ...]:
        return tuple(ResourceChange(None, each, Action.CREATED, Severity.NOTICE) for each in after.resources)

    def made(findings: Path) -> Analyses:
        return review_projects.analyses(changes=changes)

    (found,) = run_review(project.root, "main", analyses=made).review.environments
    assert found.notes == (
        "Stack sagestack-dev-bootstrap says who may deploy dev, and no deployment changes it: an administrator does, with"
        " `sagestack bootstrap --env dev`.",
    )


def test_the_pipeline_that_deploys_is_reviewed_like_an_environment_where_there_is_one(project: GitProject) -> None:
    project.write("stacks/delivery.py", json.dumps(BUCKET))
    project.write("delivery.yaml", "pipeline: null")
    project.commit()
    assert [each.environment for each in review(project).review.environments] == ["dev"]
    project.write("delivery.yaml", "pipeline: {account: '999999999999'}")
    found = review(project).review
    assert [(each.environment, each.is_new) for each in found.environments] == [("delivery", True), ("dev", False)]
    assert [each.environment for each in review(project, environments=["delivery"]).review.environments] == ["delivery"]


def test_beside_a_folder_only_what_it_holds_is_compared(project: GitProject, tmp_path: Path) -> None:
    project.write("stacks/bootstrap.py", json.dumps({"Role": {"Type": "AWS::IAM::Role"}}))
    seen = Seen()
    review(project, str(assembly_folder(tmp_path / "synthesized")), seen=seen)
    assert [list(side.stacks) for side in seen.pairs["dev"] if side] == [["sagestack-dev-foundation"]] * 2


# --- What cannot be found ---


def test_an_unknown_ref_is_refused_with_what_comes_near(project: GitProject) -> None:
    project.git("branch", "release")
    error = refused(project, "relaese")
    assert error.message == "Git knows no commit 'relaese'; did you mean 'release'?"
    assert error.code == "not-found"


def test_a_branch_of_the_server_that_was_not_fetched_says_how(project: GitProject) -> None:
    assert refused(project, "origin/main").hint == "If it is on the server: git fetch origin main"


@pytest.mark.parametrize("ref", ["--help", "-n", "main; rm -rf .", ""])
def test_what_is_no_ref_is_never_an_option_of_git(project: GitProject, ref: str) -> None:
    assert refused(project, ref).code == "not-found"


def test_a_shallow_clone_without_the_base_says_how_to_deepen_it(project: GitProject, tmp_path: Path) -> None:
    project.git("checkout", "--quiet", "-b", "topic")
    project.environment("dev", BUCKET | TOPIC)
    project.commit()
    project.git("checkout", "--quiet", "main")
    project.commit("elsewhere")
    clone = GitProject.__new__(GitProject)
    clone.top = clone.root = tmp_path / "clone"
    url = project.root.as_uri()
    project.git("clone", "--quiet", "--depth=1", "--branch=topic", url, str(clone.root))
    # Not fetched at all, then fetched without the history that both share.
    for fetched in (False, True):
        if fetched:
            clone.git("fetch", "--quiet", "--depth=1", "origin", "main:refs/remotes/origin/main")
        error = refused(clone, "origin/main")
        assert error.code == "not-found"
        assert error.hint
        assert "git fetch --unshallow" in error.hint
        assert "fetch-depth: 0" in error.hint
    clone.git("fetch", "--quiet", "--unshallow", "origin", "main:refs/remotes/origin/main", "--force")
    assert len(review(clone, "origin/main").review.environments) == 1


def test_a_folder_that_is_in_no_repository_says_what_works_without_git(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text("{}")
    with pytest.raises(CliError, match="is in no git repository") as caught:
        run_review(tmp_path, "main", analyses=Seen().analyses)
    assert caught.value.hint
    assert "--base FOLDER --head FOLDER" in caught.value.hint


def test_a_machine_without_git_says_so(project: GitProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    error = refused(project)
    assert (error.message, error.code) == ("There is no git.", "set-up")


# --- Folders that `cdk synth` wrote ---


def assembly_folder(folder: Path, environment: str = "dev", stack: str = "sagestack-dev-foundation") -> Path:
    folder.mkdir(parents=True)
    (folder / "t.json").write_text(json.dumps({"Resources": BUCKET}))
    artifact = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://111111111111/us-east-1",
        "properties": {"templateFile": "t.json"},
    }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": {stack: artifact}}))
    return folder


def test_a_folder_that_cdk_synth_wrote_may_be_a_side(project: GitProject, tmp_path: Path) -> None:
    folder = assembly_folder(tmp_path / "synthesized")
    seen = Seen()
    outcome = review(project, str(folder), seen=seen)
    before, after = seen.templates()
    assert before == {"Resources": BUCKET}
    assert after
    assert outcome.synthesized == 1
    assert (outcome.review.base.label, outcome.review.base.commit) == (str(folder), None)


def test_two_folders_need_no_git_and_may_hold_a_folder_for_each_environment(tmp_path: Path) -> None:
    for side in ("old", "new"):
        for name in ("dev", "prod"):
            assembly_folder(tmp_path / side / name, name, f"sagestack-{name}-foundation")
    outcome = run_review(tmp_path, "old", "new", analyses=Seen().analyses)
    assert [each.environment for each in outcome.review.environments] == ["dev", "prod"]


def test_a_folder_without_an_assembly_is_refused(project: GitProject, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no assembly" in refused(project, str(tmp_path / "empty")).message
    assert "There is no folder" in refused(project, str(tmp_path / "missing")).message
    folder = assembly_folder(tmp_path / "damaged")
    (folder / "t.json").write_text("{")
    assert "holds no assembly that can be read" in refused(project, str(folder)).message


def test_a_folder_that_does_not_tell_its_environment_is_asked_about(project: GitProject, tmp_path: Path) -> None:
    folder = assembly_folder(tmp_path / "strange", stack="something")
    error = refused(project, str(folder))
    assert "cannot be told from its stacks (something)" in error.message
    assert error.hint == "Name it: --env NAME."
    assert review(project, str(folder), environments=["dev"]).review.environments[0].environment == "dev"


def test_a_branch_may_be_called_as_a_folder_is(project: GitProject) -> None:
    project.git("branch", "environments")
    assert review(project, "environments").review.base.commit == project.git("rev-parse", "HEAD")


# --- What is kept ---


def test_what_was_synthesized_is_reused_until_something_of_it_changes(project: GitProject) -> None:
    project.environment("dev", BUCKET | TOPIC)
    counts = []
    for name, content in ((None, ""), (None, ""), ("docs/a.md", "x"), ("tests/a.py", "x"), ("stacks/a.py", "x")):
        if name is not None:
            project.write(name, content)
        outcome = review(project)
        counts.append((outcome.synthesized, outcome.reused))
    assert counts == [(2, 0), (0, 2), (0, 2), (0, 2), (1, 1)]


def test_what_is_reused_is_what_was_made(project: GitProject) -> None:
    project.environment("dev", BUCKET | TOPIC)
    first, second = Seen(), Seen()
    review(project, seen=first)
    review(project, seen=second)
    assert first.templates() == second.templates()


def test_documentation_and_tests_are_not_there_for_a_synth_to_read(project: GitProject) -> None:
    for name in ("docs/a.md", "tests/a.py", ".github/workflows/a.yaml", "model_code/tests/a.py"):
        project.write(name, "x")
    seen = Seen()
    review(project, seen=seen)
    _, after = seen.templates()
    assert after
    files = after["Metadata"]["files"]
    assert "model_code/tests/a.py" in files
    assert not any(name.startswith(("docs", "tests", ".github")) for name in files)


def test_other_versions_of_the_tools_make_everything_anew(project: GitProject, monkeypatch: pytest.MonkeyPatch) -> None:
    assert review(project).synthesized == 1
    monkeypatch.setattr(Synthesizer, "versions", lambda self: "aws-cdk-lib 99")
    assert review(project).synthesized == 1


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda entry: (entry / "manifest.json").unlink(), id="a file is gone"),
        pytest.param(lambda entry: next(entry.glob("*.template.json")).write_text("{}"), id="a template is another"),
        pytest.param(lambda entry: (entry / "content.json").write_text("{"), id="the list cannot be read"),
        pytest.param(lambda entry: (entry / "more.json").write_text("{}"), id="there is more in it"),
    ],
)
def test_a_damaged_entry_is_made_anew(project: GitProject, damage: Any) -> None:
    review(project)
    (entry,) = (project.root / CACHE / "sides").glob("*/dev")
    damage(entry)
    assert review(project).synthesized == 1
    assert review(project).reused == 2


def test_only_documents_are_kept(project: GitProject) -> None:
    review(project)
    (entry,) = (project.root / CACHE / "sides").glob("*/dev")
    assert {path.suffix for path in entry.rglob("*")} == {".json"}


def test_the_sides_that_were_used_longest_ago_go_first(tmp_path: Path) -> None:
    for number in range(4):
        side = tmp_path / "sides" / f"key{number}" / "dev"
        side.mkdir(parents=True)
        os.utime(side.parent, (number, number))
    (tmp_path / "sides/work-of-a-killed-one").mkdir()
    with Cache(tmp_path, sides_kept=2):
        left = {path.name for path in (tmp_path / "sides").glob("key*")}
    assert left == {"key2", "key3"}
    assert not list((tmp_path / "sides").glob("work-*"))


def test_a_review_that_runs_loses_nothing_to_another_that_starts(tmp_path: Path) -> None:
    with Cache(tmp_path) as first:
        working = first.work_folder("head")
        working.mkdir()
        with Cache(tmp_path, sides_kept=0):
            assert working.exists()


def test_a_cache_that_is_removed_under_a_review_is_said_and_the_next_one_works(
    project: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = cache_module.Cache.keep

    def late(self: Cache, *entry: Any) -> Path:
        shutil.rmtree(project.root / CACHE)
        return keep(self, *entry)

    monkeypatch.setattr(cache_module.Cache, "keep", late)
    error = refused(project)
    assert f"removed {project.root / CACHE} while this review worked in it" in error.message
    assert error.hint == "Run it again: nothing is left half done."
    monkeypatch.undo()
    review_projects.synthesize_in_this_process(monkeypatch)
    assert review(project).synthesized == 1


def test_two_reviews_at_once_both_succeed(project: GitProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project.environment("dev", BUCKET | TOPIC)
    both_made = threading.Barrier(2, timeout=60)
    keep = cache_module.Cache.keep

    def slowly(self: Cache, *entry: Any) -> Path:
        both_made.wait()
        return keep(self, *entry)

    monkeypatch.setattr(cache_module.Cache, "keep", slowly)
    monkeypatch.setattr(synthesis, "_AT_ONCE", 1)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(review, project) for _ in range(2)]
        assert [each.result().synthesized for each in running] == [2, 2]
    monkeypatch.undo()
    assert review(project).reused == 2


@pytest.mark.usefixtures("real_synth")
def test_what_is_interrupted_ends_its_programs_and_leaves_nothing(project: GitProject) -> None:
    project.write("app.py", "import time\ntime.sleep(300)\n")

    def interrupt(text: str) -> None:
        if text.startswith("Synthesizing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        review(project, progress=interrupt)
    assert not list((project.root / CACHE / "sides").glob("work-*"))
    left = subprocess.run(["pgrep", "-f", str(project.root)], capture_output=True, text=True, check=False)
    assert not left.stdout


# --- Which line made it ---


class Store(Construct):
    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        self.bucket = s3.Bucket(self, "Bucket")  # the inner line


def test_each_construct_has_the_line_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsii, "create", jsii.create)
    recorder = Recorder(Path(__file__).parent)
    recorder.install()
    app = cdk.App(outdir=str(tmp_path))
    stack = cdk.Stack(app, "Stack")  # the stack
    store = Store(stack, "a/b")  # the store
    s3.CfnBucket(store, "Raw")  # the raw one
    lines = Path(__file__).read_text().splitlines()
    here = {path: lines[int(line.split(":")[1]) - 1].split("# ")[1] for path, line in recorder.sources.items()}
    assert here == {
        "/Stack": "the stack",
        "/Stack/a--b": "the store",
        "/Stack/a--b/Bucket": "the inner line",
        "/Stack/a--b/Raw": "the raw one",
    }
    assert all(line.startswith("test_review_sides.py:") for line in recorder.sources.values())
    made = {path.removeprefix("/Stack/") for path in recorder.sources}
    assert {"a--b/Raw"} < made


def test_what_the_cdk_makes_itself_has_no_line_and_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsii, "create", jsii.create)
    recorder = Recorder(Path("/nowhere"))
    recorder.install()
    stack = cdk.Stack(cdk.App(), "Stack")
    bucket = s3.Bucket(stack, "Bucket")
    s3.CfnBucket(cast(Construct, bucket.node.find_child("Resource")), "Below")
    assert recorder.sources == {}


# --- The real thing ---


@pytest.mark.long
@pytest.mark.usefixtures("real_synth")
def test_what_is_synthesized_for_a_review_equals_what_cdk_synth_writes_byte_for_byte(tmp_path: Path) -> None:
    project = Checkout(tmp_path / "project")
    settings = project.folder / "environments/prod.yaml"
    settings.write_text(settings.read_text().replace("served_version: null", "served_version: 3"))
    there = tmp_path / "cdk.out"
    done = project.run("cdk", "synth", "--quiet", "-c", "env=prod", "--output", str(there))
    assert done.returncode == 0, done.stderr
    with Cache(tmp_path / "cache") as cache:
        files = of_working_tree(Repository(project.folder), cache.work_folder("head"))
        here, alone = tmp_path / "here", tmp_path / "alone"
        others = [
            ({"env": "dev"}, tmp_path / "dev"),
            ({"env": "prod", "part": "bootstrap"}, tmp_path / "bootstrap"),
        ]
        synthesizer = Synthesizer(project.folder)
        synthesizer.synthesize_together(files.folder, [*others, ({"env": "prod"}, here)])
        synthesizer.synthesize(files.folder, {"env": "prod"}, alone)
    assert {path.relative_to(here): path.read_bytes() for path in here.rglob("*") if path.is_file()} == {
        path.relative_to(alone): path.read_bytes() for path in alone.rglob("*") if path.is_file()
    }
    names = sorted(path.name for path in there.glob("*.json") if path.name != "validation-report.json")
    assert len([name for name in names if name.endswith(".template.json")]) == 3
    for name in names:
        assert (here / name).read_bytes() == (there / name).read_bytes(), name
    # Every resource can be traced to a line of the project, and the line is there.
    assembly = read_assembly(here, "prod")
    assert all(resource.source for resource in assembly.resources)
    for resource in assembly.resources:
        file, _, line = str(resource.source).partition(":")
        assert len((project.folder / file).read_text().splitlines()) >= int(line), resource
    (endpoint,) = (each for each in assembly.resources if each.type == "AWS::SageMaker::Endpoint")
    assert str(endpoint.source).startswith("stacks/serving.py:")
