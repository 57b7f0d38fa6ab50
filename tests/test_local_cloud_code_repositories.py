"""Code repositories of the local cloud: the resources, and how an instance clones them with the credentials of a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.notebooks.code_repositories import Repository
from tests.notebook_fakes import PREFIX, ROLE, NotebookCloud, notebook_cloud

URL = "https://git.example.org/team/analysis.git"
SECRET = "arn:aws:secretsmanager:us-east-1:000000000000:secret:git-AbCdEf"
ARN = f"{PREFIX}:code-repository/analysis"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[NotebookCloud]:
    with notebook_cloud(tmp_path) as made:
        yield made


@pytest.fixture
def private(cloud: NotebookCloud) -> NotebookCloud:
    """With a repository that a secret opens."""
    cloud.services.secrets[SECRET] = json.dumps({"username": "ada", "password": "token"})
    git = {"RepositoryUrl": URL, "Branch": "main", "SecretArn": SECRET}
    cloud.call("CreateCodeRepository", CodeRepositoryName="analysis", GitConfig=git)
    return cloud


def test_a_repository_is_described_as_it_was_made(private: NotebookCloud) -> None:
    described = private.call("DescribeCodeRepository", CodeRepositoryName="analysis")
    assert described["CodeRepositoryArn"] == ARN
    assert described["GitConfig"] == {"RepositoryUrl": URL, "Branch": "main", "SecretArn": SECRET}


def test_an_update_changes_the_secret_only(private: NotebookCloud) -> None:
    other = SECRET.replace("git-", "other-")
    private.call("UpdateCodeRepository", CodeRepositoryName="analysis", GitConfig={"SecretArn": other})
    described = private.call("DescribeCodeRepository", CodeRepositoryName="analysis")
    assert described["GitConfig"] == {"RepositoryUrl": URL, "Branch": "main", "SecretArn": other}
    with pytest.raises(ValidationError, match=r"gitConfig\.repositoryUrl"):
        private.call("UpdateCodeRepository", CodeRepositoryName="analysis", GitConfig={"RepositoryUrl": URL})


def test_lists_are_by_name(private: NotebookCloud) -> None:
    private.call("CreateCodeRepository", CodeRepositoryName="a-first", GitConfig={"RepositoryUrl": URL})
    listed = private.call("ListCodeRepositories")["CodeRepositorySummaryList"]
    assert [each["CodeRepositoryName"] for each in listed] == ["a-first", "analysis"]
    found = private.call("ListCodeRepositories", NameContains="lysis")["CodeRepositorySummaryList"]
    assert [each["CodeRepositoryName"] for each in found] == ["analysis"]


def test_one_that_is_gone_is_refused(private: NotebookCloud) -> None:
    private.call("DeleteCodeRepository", CodeRepositoryName="analysis")
    for operation in ("DescribeCodeRepository", "DeleteCodeRepository", "UpdateCodeRepository"):
        with pytest.raises(ValidationError, match=f"Cannot find CodeRepository: {ARN}"):
            private.call(operation, CodeRepositoryName="analysis")
    with pytest.raises(ValidationError, match="Cannot find CodeRepository"):
        private.create(DefaultCodeRepository="analysis")


@pytest.mark.parametrize(
    "git",
    [
        {"RepositoryUrl": "git@example.org:team/analysis.git"},
        {"RepositoryUrl": URL, "SecretArn": "my-secret"},
        {"RepositoryUrl": URL, "Branch": "two words"},
        {},
    ],
    ids=["ssh", "a secret's name", "no branch", "nothing"],
)
def test_what_is_no_repository_is_refused(cloud: NotebookCloud, git: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="1 validation error"):
        cloud.call("CreateCodeRepository", CodeRepositoryName="a", GitConfig=git)


def test_a_private_repository_is_cloned_with_what_its_secret_says_read_as_the_instances_role(
    private: NotebookCloud,
) -> None:
    instance = private.ready(DefaultCodeRepository="analysis")
    ((repository, folder),) = instance.cloned
    assert (repository.url, repository.branch, folder) == (URL, "main", "analysis")
    assert (repository.username, repository.password) == ("ada", "token")
    assert private.services.asked_as == [ROLE]
    assert instance.default_folder == "analysis"


def test_repositories_are_there_before_the_scripts_that_may_need_them(private: NotebookCloud) -> None:
    others = ["https://example.org/one", "https://example.org/two.git", "https://example.org/three/"]
    instance = private.ready(DefaultCodeRepository="analysis", AdditionalCodeRepositories=others)
    assert instance.did == ["clone analysis", "clone one", "clone two", "clone three", "jupyter"]
    with pytest.raises(ValidationError, match="less than or equal to 3"):
        private.create("b", AdditionalCodeRepositories=[*others, "https://example.org/four"])


def test_two_repositories_of_one_folder_are_refused(private: NotebookCloud) -> None:
    with pytest.raises(ValidationError, match="both be cloned into SageMaker/analysis"):
        private.create(DefaultCodeRepository="analysis", AdditionalCodeRepositories=["https://example.org/analysis"])


def test_a_repository_that_does_not_answer_fails_the_instance_with_what_git_said(cloud: NotebookCloud) -> None:
    said = f"fatal: unable to access '{URL}/': Could not resolve host: git.example.org"
    cloud.runtime.git_says[URL] = said
    cloud.create(DefaultCodeRepository=URL)
    assert cloud.until("Failed")["FailureReason"] == said
    cloud.runtime.git_says.clear()
    assert cloud.restart_instance().did == ["clone analysis", "jupyter"]


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (
            None,
            f"The secret {SECRET} of the git repository cannot be read as {ROLE}: .*can't find the specified secret",
        ),
        ("not JSON", f"The secret {SECRET} of the git repository has no username and no password"),
        ('{"username": "ada"}', "has no password: it must be {"),
        ('{"username": "ada", "password": ""}', "has no password: it must be {"),
        ('["ada", "token"]', "has no username and no password"),
        ('{"username": "ada", "password": "token\\n"}', "The password in the secret .* has a line break"),
    ],
    ids=["not there", "no JSON", "no password", "empty password", "no object", "line break"],
)
def test_a_secret_that_opens_nothing_fails_the_instance_with_a_reason(
    private: NotebookCloud, secret: str | None, why: str
) -> None:
    private.services.secrets = {SECRET: secret} if secret else {}
    private.create(DefaultCodeRepository="analysis")
    assert re.search(why, private.until("Failed")["FailureReason"])
    assert not private.runtime.instances[0].cloned


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("https://git.example/team/analysis.git", "analysis"),
        ("https://git.example/team/analysis/", "analysis"),
        ("https://git.example/team/analysis/.git", "analysis"),
        ("https://git.example/team/analysis.git/", "analysis"),
        ("https://git.example", "git.example"),
    ],
)
def test_a_repository_is_cloned_into_the_folder_that_git_would_choose(url: str, folder: str) -> None:
    assert Repository(url).folder == folder


@pytest.mark.parametrize("end", ["..", "a/..", ".", "a/.git.git"])
def test_a_repository_without_a_name_has_no_folder(end: str) -> None:
    with pytest.raises(ValidationError, match="has no name that a folder could have"):
        _ = Repository(f"https://git.example/{end}").folder


def test_a_repository_without_a_name_is_refused_with_the_instance(cloud: NotebookCloud) -> None:
    with pytest.raises(ValidationError, match="has no name that a folder could have"):
        cloud.create(DefaultCodeRepository="https://git.example/..")
