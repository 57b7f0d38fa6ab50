"""What people write into a workbench and should not have: refused at its line, with what is allowed, before anything is built."""

from __future__ import annotations

import json
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from sagestack.settings import EnvironmentNames, SettingsError, load_environment
from sagestack.settings.workbench import Personas, Workbench, WorkbenchNetwork, own_names
from sagestack.workbench.personas.permissions import WorkedWith
from sagestack.workbench.personas.persona_role import PersonaRole

from tests.synthesis import copy_project, flags
from tests.whole_workbench import with_workbench

ROLE = "arn:aws:iam::111111111111:role/"
SAML = "arn:aws:iam::111111111111:saml-provider/"
SECRET = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:git-AbCdEf"
NETWORK = "  network: {cidr: 10.42.0.0/22}\n"
JOBS = "{instance_type: ml.t3.medium, grants: {jobs: true}}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("bad-input"))


@pytest.fixture
def root(project: Path) -> Path:
    """The project, `dev` without a workbench."""
    file = project / "environments/dev.yaml"
    file.write_text(file.read_text().split("workbench:\n")[0])
    return project


def problems(root: Path, workbench: str) -> str:
    with_workbench(root, f"workbench:\n{workbench}")
    with pytest.raises(SettingsError) as refused:
        load_environment("dev", root)
    return str(refused.value)


def network(said: str) -> str:
    return f"  network: {{{said}}}\n"


def notebook(said: str, name: str = "explore") -> str:
    return f"{NETWORK}  notebooks:\n    {name}: {{instance_type: ml.t3.medium, {said}}}\n"


def config(said: str) -> str:
    return f"{NETWORK}  lifecycle_configs:\n    standard: {{{said}}}\n"


@pytest.mark.parametrize(
    ("workbench", "said"),
    [
        pytest.param(
            network("cidr: 10.42.0.0/25")
            + "  notebooks:\n"
            + "".join(f"    n{n}: {{instance_type: ml.t3.medium}}\n" for n in range(17)),
            "network.cidr: '10.42.0.0/25' has room for 16 notebooks and apps in its first subnet",
            id="a network without room for all notebooks",
        ),
        pytest.param(
            network("cidr: 10.42.0.0/26"),
            "network.cidr: '10.42.0.0/26' does not fit",
            id="a network whose endpoints leave no address",
        ),
        pytest.param(network("cidr: 127.0.0.0/16"), "network.cidr: '127.0.0.0/16' does not fit", id="loopback"),
        pytest.param(network("cidr: 240.0.0.0/16"), "network.cidr: '240.0.0.0/16' does not fit", id="reserved"),
        pytest.param(network("cidr: 172.17.4.0/22"), "172.17.0.0/16 is Docker's", id="Docker's block"),
        pytest.param(
            network("vpc_id: vpc-01234567, subnet_ids: [subnet-01234567], availability_zones: 3"),
            "network.availability_zones: is for a network of its own",
            id="zones of a network that is there",
        ),
        pytest.param(
            network("cidr: 10.42.0.0/22, interface_endpoints: none"),
            "network.interface_endpoints: 'none' needs nat: true",
            id="a network that reaches nothing",
        ),
        pytest.param(
            network("vpc_id: vpc-01234567, subnet_ids: [subnet-01234567], interface_endpoints: none"),
            "network.interface_endpoints: is for a network of its own",
            id="endpoints of a network that is there",
        ),
        pytest.param(
            network("vpc_id: vpc-01234567, subnet_ids: [subnet-01234567, subnet-01234567]"),
            "network.subnet_ids[1]: 'subnet-01234567' is there twice",
            id="a subnet twice",
        ),
        pytest.param(
            notebook("owner: ada", name="Explore"),
            "notebooks.Explore: 'Explore' is not allowed (allowed: up to 30 notebook instances by name: lower-case letters,",
            id="a name in upper case",
        ),
        pytest.param(
            NETWORK + "  notebooks:\n" + "".join(f"    n{n}: {{instance_type: ml.t3.medium}}\n" for n in range(31)),
            "up to 30 notebook instances",
            id="more notebooks than a stack holds",
        ),
        pytest.param(
            notebook("repositories: [{url: https://a.org/x/lab.git}, {url: https://b.org/y/lab}]"),
            "repositories[1].url: 'lab' is the folder that repositories[0] is cloned into, too",
            id="two repositories in one folder",
        ),
        pytest.param(
            notebook(f"repositories: [{{url: https://a.org/{'x' * 1024}}}]"), "of up to 1024 characters", id="a long address"
        ),
        pytest.param(notebook("repositories: [{url: https:///lab}]"), "an https:// address", id="an address without a host"),
        pytest.param(
            notebook("repositories: [{url: https://a.org/lab, secret_key_arn: 'arn:aws:kms:us-east-1:111111111111:key/x'}]"),
            "secret_key_arn: is the key of a secret, and there is none",
            id="a key without a secret",
        ),
        pytest.param(
            notebook(f"repositories: [{{url: https://a.org/lab, secret_arn: '{SECRET}'}}]"),
            "repositories[0].secret_arn: the secret is in eu-west-1, and the environment in us-east-1",
            id="a repository's secret in another region",
        ),
        pytest.param(
            config(f"git: {{user_name: Ada, user_email: ada@example.org, hosts: [a.org], secret_arn: '{SECRET}'}}"),
            "git.secret_arn: the secret is in eu-west-1",
            id="git's secret in another region",
        ),
        pytest.param(config("proxy: {http: 'http://proxy:99999'}"), "Port out of range", id="a port that is none"),
        pytest.param(
            config("packages: [{manager: pip, packages: ['git+https://a.org/lab']}]"),
            "packages[0]: 'git+https://a.org/lab' is not allowed (allowed: a package as pip or conda knows it",
            id="a package that is an address",
        ),
        pytest.param(
            config("packages: [{manager: pip, packages: ['scikit-learn==1.5.0', 'Scikit_Learn>=1.6']}]"),
            "'scikit-learn==1.5.0' and 'Scikit_Learn>=1.6' are one package",
            id="two versions of one package",
        ),
        pytest.param(
            NETWORK + "  studio: {user_profiles: {ada: {grants: {models: [housin]}}}}\n",
            "studio.user_profiles.ada.grants.models: there is no model 'housin'; did you mean 'housing'?",
            id="a person's model that is none",
        ),
        pytest.param(
            NETWORK + "  studio: {user_profiles: {ada: {}, Ada: {}}}\n",
            "studio.user_profiles.Ada: 'Ada' is there twice",
            id="two people who differ in case",
        ),
        pytest.param(
            NETWORK + "  studio: {user_profiles: {ada: {}}}\n  notebooks: {studio-ada: {instance_type: ml.t3.medium}}\n",
            "notebooks.studio-ada: 'studio-ada' is a name of people in Studio",
            id="a notebook named like a person in Studio",
        ),
        pytest.param(
            NETWORK + "  notebooks:\n    one: &one {instance_type: ml.m5.huge}\n    two:\n      <<: *one\n",
            "environments/dev.yaml:32: workbench.notebooks.two.instance_type: 'ml.m5.huge' is not an instance type",
            id="what was merged in from elsewhere",
        ),
        pytest.param(
            notebook(f"hours: {{stop: cron(0 19 ? * * *), time_zone: {'x' * 10_000}}}"),
            f"time_zone: '{'x' * 76}... is no time zone",
            id="a value that nobody would read",
        ),
        pytest.param(
            notebook(f"volume_size_in_gb: {'9' * 5_000}"), "environments/dev.yaml: Exceeds the limit", id="a number without end"
        ),
        pytest.param(
            f"{NETWORK}  notebooks: {{ada: {JOBS}, ada-lab: {JOBS}}}\n",
            "notebooks.ada.grants.jobs: true would let ada stop and delete the jobs and endpoints of ada-lab",
            id="a notebook whose jobs another one could stop",
        ),
        pytest.param(
            NETWORK + "  personas: {trusted: ['" + ROLE + "people'], user_tag: 'aws:user'}\n",
            "'aws:user' is no key of a session tag",
            id="a session tag of AWS's",
        ),
        pytest.param(
            NETWORK + "  personas: {trusted: [" + ", ".join(f"{ROLE}{'x' * 60}{n}" for n in range(20)) + "]}\n",
            "characters, and IAM takes 2048; name fewer",
            id="more people than a trust policy holds",
        ),
    ],
)  # fmt: skip
def test_it_is_refused_at_its_line(root: Path, workbench: str, said: str) -> None:
    text = problems(root, workbench)
    assert said in text
    assert text.startswith("environments/dev.yaml:")
    assert len(text) < 1000


@pytest.mark.parametrize(
    "cidr", ["10.0.0.0/16", "172.16.0.0/16", "172.31.255.128/25", "192.168.7.0/24", "100.64.0.0/20"]
)
def test_every_private_block_but_dockers_can_be_had(cidr: str) -> None:
    assert WorkbenchNetwork(cidr=cidr).addresses


def small(interface_endpoints: str, notebooks: int, **more: object) -> Workbench:
    network = {"cidr": "10.42.0.0/25", "nat": True, "interface_endpoints": interface_endpoints}
    names = {f"n{number}": {"instance_type": "ml.t3.medium"} for number in range(notebooks)}
    return Workbench.model_validate({"network": network, "notebooks": names, **more})


def test_where_there_are_no_endpoints_they_take_no_addresses() -> None:
    studio: dict[str, object] = {"user_profiles": {"ada": {}}}
    assert small("none", 17).services == ()
    # 27 addresses; of Studio a mount target and an app are there.
    small("none", 25, studio=studio)
    with pytest.raises(ValueError, match="has room for 27 notebooks and apps"):
        small("none", 26, studio=studio)
    with pytest.raises(ValueError, match="has room for 16 notebooks and apps"):
        small("needed", 17)


def test_a_notebook_may_not_delete_the_endpoint_of_a_model_by_its_name(root: Path) -> None:
    file = root / "environments/dev.yaml"
    whole = file.read_text()
    (root / "model_code/housing-lab").mkdir(exist_ok=True)
    (root / "model_code/housing-lab/model.yaml").write_text((root / "model_code/housing/model.yaml").read_text())
    file.write_text(f"{whole}{whole.partition('models:')[2].replace('  housing:', '  housing-lab:').lstrip(chr(10))}")
    try:
        said = problems(root, f"{NETWORK}  notebooks: {{housing: {JOBS}}}\n")
    finally:
        (root / "model_code/housing-lab/model.yaml").unlink()
        file.write_text(whole)
    assert (
        "notebooks.housing.grants.jobs: true would let housing stop and delete the endpoint of the model housing-lab"
        in said
    )


def test_types_of_studio_must_exist_in_the_region_too(root: Path) -> None:
    file = root / "environments/dev.yaml"
    file.write_text(file.read_text().replace("us-east-1", "us-west-1"))
    try:
        said = problems(root, NETWORK + "  studio: {instance_type: ml.p4d.24xlarge}\n")
    finally:
        file.write_text(file.read_text().replace("us-west-1", "us-east-1"))
    assert "workbench.studio.instance_type: 'ml.p4d.24xlarge' does not exist in us-west-1" in said


@pytest.mark.parametrize("trusted", [[f"{ROLE}people"], [f"{SAML}a", f"{SAML}b"], [f"{ROLE}people", f"{SAML}a"]])
def test_the_size_of_a_trust_policy_is_not_below_what_it_is(trusted: list[str]) -> None:
    personas = Personas(trusted=trusted)
    stack = cdk.Stack(cdk.App(context=flags()))
    PersonaRole(
        stack, "Role", persona="reviewer", personas=personas, names=EnvironmentNames("dev"), worked_with=WorkedWith()
    )
    (role,) = assertions.Template.from_stack(stack).find_resources("AWS::IAM::Role").values()
    size = len(json.dumps(role["Properties"]["AssumeRolePolicyDocument"], separators=(",", ":")))
    assert size <= personas.trust_policy_size(trusted) <= size + 40


def test_a_model_may_not_have_the_name_of_the_folder_of_notebooks() -> None:
    assert [path for path, _ in own_names.problems_with_models({}, None, ["housing", "notebooks"])] == [
        ("models", "notebooks")
    ]


def test_a_tag_of_the_environment_does_not_say_who_somebody_is(root: Path) -> None:
    file = root / "environments/dev.yaml"
    file.write_text(file.read_text().replace("  project: sagestack", "  User: platform"))
    try:
        said = problems(root, f"{NETWORK}  personas: {{trusted: [{ROLE}people]}}\n")
    finally:
        file.write_text(file.read_text().replace("  User: platform", "  project: sagestack"))
    assert "tags.User: is the tag by which a session says who it is (workbench.personas.user_tag: user)" in said
