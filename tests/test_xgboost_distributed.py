"""Training on several hosts: they meet, agree, train as one, and end together, also where one of them does not end well."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xgboost_container.contract import AlgorithmError, Paths, UserError
from xgboost_container.training.distributed.agreement import Shard, agree, check_groups, combined_sha256
from xgboost_container.training.distributed.collective import distributed
from xgboost_container.training.distributed.hosts import Hosts
from xgboost_container.training.distributed.link import Kind, Link

from local_cloud.sagemaker.loopback_ports import loopback_port
from tests.waiting import wait_for
from tests.xgboost_hosts import run, running

# Several hosts, each a process of its own.
pytestmark = pytest.mark.long


def config(folder: Path, content: Any) -> Paths:
    paths = Paths(folder)
    paths.config.mkdir(parents=True)
    (paths.config / "resourceconfig.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return paths


TWO = {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"], "network_interface_name": "eth0"}


# Which hosts there are


def test_without_a_resource_config_there_is_one_host(tmp_path: Path) -> None:
    hosts = Hosts.read(Paths(tmp_path), {})
    assert (hosts.all, hosts.is_leader, hosts.others) == (("algo-1",), True, ())


def test_the_first_host_in_sorted_order_leads_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    hosts = Hosts.read(config(tmp_path, TWO), {})
    assert (hosts.current, hosts.all, hosts.leader, hosts.is_leader) == (
        "algo-2",
        ("algo-1", "algo-2"),
        "algo-1",
        False,
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ["resourceconfig.json", "not valid JSON"]),
        ({"current_host": "algo-1"}, ['"hosts" must be a list', "None"]),
        ({"current_host": "algo-1", "hosts": []}, ['"hosts" must be a list', "[]"]),
        ({"current_host": "algo-1", "hosts": ["algo-1", 2]}, ['"hosts" must be a list', "2"]),
        ({"current_host": "algo-1", "hosts": ["algo-1", "algo-1"]}, ["names a host twice"]),
        ({"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]}, ['"current_host" must be one of', "algo-3"]),
        ({"hosts": ["algo-1"]}, ['"current_host" must be one of', "None"]),
    ],
)
def test_a_resource_config_that_makes_no_sense_is_refused(tmp_path: Path, content: Any, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        Hosts.read(config(tmp_path, content), {})
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SAGEMAKER_HOST_ADDRESSES": "127.0.0.1"}, ["SAGEMAKER_HOST_ADDRESSES", "not valid JSON"]),
        ({"SAGEMAKER_HOST_ADDRESSES": "[]"}, ["SAGEMAKER_HOST_ADDRESSES", "JSON object"]),
        ({"SAGEMAKER_HOST_ADDRESSES": '{"algo-1": "127.0.0.1"}'}, ["no address for algo-2"]),
        ({"SAGEMAKER_HOSTS_PORT": "high"}, ["SAGEMAKER_HOSTS_PORT", "between 1 and 65535", "'high'"]),
        ({"SAGEMAKER_HOSTS_PORT": "0"}, ["SAGEMAKER_HOSTS_PORT", "between 1 and 65535", "'0'"]),
        ({"SAGEMAKER_HOSTS_CONNECT_SECONDS": "nan"}, ["SAGEMAKER_HOSTS_CONNECT_SECONDS", "'nan'"]),
        ({"SAGEMAKER_HOSTS_SILENCE_SECONDS": "-1"}, ["SAGEMAKER_HOSTS_SILENCE_SECONDS", "'-1'"]),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused(
    tmp_path: Path, environment: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        Hosts.read(config(tmp_path, TWO), environment)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_host_whose_name_never_resolves_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "gethostbyname", unknown)
    hosts = Hosts(current="algo-1", all=("algo-1", "algo-2"), connect_seconds=0.2)
    with pytest.raises(
        AlgorithmError, match=r"host algo-2 was lost before it began: its name did not resolve within 0\.2"
    ):
        hosts.address("algo-2")


def test_a_name_that_resolves_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["", "", "10.0.0.7"]

    def late(name: str) -> str:
        answer = answers.pop(0)
        if not answer:
            raise socket.gaierror(-2, "Name or service not known")
        return answer

    monkeypatch.setattr(socket, "gethostbyname", late)
    assert Hosts(connect_seconds=10).address("algo-1") == "10.0.0.7"


def test_one_host_alone_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_server", lambda *_, **__: pytest.fail("listens"))
    with distributed(Hosts(), Paths(tmp_path)) as group, group.collective():
        assert (group.rank, group.size, group.is_leader, group.has_rows) == (0, 1, True, True)
        assert group.gather({"rows": 3}) == [{"rows": 3}]
        assert (group.broadcast(b"model"), group.broadcast(None), group.any(True), group.any(False)) == (
            b"model",
            None,
            True,
            False,
        )
        group.check_same("the model", b"any")


# Messages


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


def test_messages_arrive_whole_and_in_order() -> None:
    one, other = (Link(end) for end in connected())
    large = bytes(range(256)) * 200
    one.send(Kind.VALUE, b"")
    one.send(Kind.VALUE, large)
    assert one.send_now(Kind.ALIVE)
    assert [other.receive() for _ in range(3)] == [(Kind.VALUE, b""), (Kind.VALUE, large), (Kind.ALIVE, b"")]
    one.close()
    with pytest.raises(OSError, match="closed the connection"):
        other.receive()


def test_a_stranger_cannot_make_a_host_allocate_what_he_likes() -> None:
    end, other = connected()
    end.sendall(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ConnectionError, match="bytes where at most 1000 were expected"):
        Link(other).receive(limit=1000)


def test_a_thread_that_only_says_it_is_alive_is_not_held_up_by_a_host_that_reads_nothing() -> None:
    end, _unread = connected()
    link = Link(end)
    while link.send_now(Kind.FAILED, b"x" * 1000):
        pass
    assert not link.send_now(Kind.ALIVE)


# What hosts agree on


def shard(**other: Any) -> Shard:
    return Shard(**{"rows": 10, "width": 3, "content_type": "csv", **other})


def test_what_a_host_tells_of_its_shard_survives_the_way() -> None:
    told = shard(feature_names=("a", "b", "c"), channels=("validation",), sparse=True, sha256="abc")
    assert Shard.from_json(json.loads(json.dumps(told.as_json()))) == told


def test_hosts_without_rows_are_left_out_and_the_log_says_what_to_do() -> None:
    agreement = agree({"algo-1": shard(rows=0, width=0, content_type=""), "algo-2": shard(), "algo-3": shard()})
    assert agreement.hosts == ("algo-2", "algo-3")
    assert ["algo-1 got no rows" in warning for warning in agreement.warnings] == [True]


def test_the_same_rows_on_every_host_are_warned_of() -> None:
    agreement = agree({"algo-1": shard(sha256="abc"), "algo-2": shard(sha256="abc")})
    assert ["each row counts 2 times" in warning and "ShardedByS3Key" in warning for warning in agreement.warnings] == [
        True
    ]
    assert agree({"algo-1": shard(sha256="abc"), "algo-2": shard(sha256="abd")}).warnings == ()
    assert agree({"algo-1": shard(sha256="abc")}).warnings == ()
    assert agree({"algo-1": shard(), "algo-2": shard()}).warnings == ()


def test_sparse_shards_are_as_wide_as_the_widest() -> None:
    assert agree({"algo-1": shard(sparse=True, width=7), "algo-2": shard(sparse=True, width=9)}).width == 9


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"rows": 0}, {"rows": 0}, ["none of the hosts algo-1, algo-2", "channel train"]),
        ({}, {"width": 4}, ["3 features on algo-1 and 4 on algo-2"]),
        ({}, {"content_type": "parquet"}, ["csv on algo-1 and parquet on algo-2"]),
        (
            {"feature_names": ("a", "b", "c")},
            {"feature_names": ("a", "c", "b")},
            ["feature 2 is 'b' on algo-1 and 'c' on algo-2"],
        ),
        ({"feature_names": ("a", "b", "c")}, {}, ["3 feature names on algo-1 and 0 on algo-2"]),
        ({"columns": ("weight",)}, {}, ["has a weight on algo-1 and not on algo-2"]),
        ({}, {"columns": ("qid",)}, ["has a qid on algo-2 and not on algo-1"]),
        ({}, {"sparse": True}, ["has sparse rows on algo-2 and not on algo-1"]),
        ({}, {"rows": 0, "channels": ("test",)}, ["algo-2 got no rows", "rows of test that would be left out"]),
        ({"channels": ("validation",)}, {}, ["validation has rows on algo-1 and none on algo-2", "FullyReplicated"]),
    ],
)
def test_shards_that_do_not_go_together_are_refused_with_both_hosts(
    first: dict[str, Any], second: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        agree({"algo-1": shard(**first), "algo-2": shard(**second)})
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_ranking_group_on_two_hosts_is_refused() -> None:
    check_groups({"algo-1": np.array([1, 2]), "algo-2": np.array([3, 4])})
    with pytest.raises(UserError, match="the rows of query 2 are split over algo-1 and algo-3"):
        check_groups({"algo-1": np.array([1, 2]), "algo-2": np.array([3]), "algo-3": np.array([2])})


def test_one_hosts_fingerprint_is_its_own_and_several_depend_on_their_order() -> None:
    assert combined_sha256(["abc"]) == "abc"
    assert combined_sha256(["abc", "abd"]) != combined_sha256(["abd", "abc"])


# Hosts that end well


def test_hosts_train_as_one_and_only_the_leader_writes_the_model(tmp_path: Path) -> None:
    job = run(tmp_path, hosts=3, plan={"params": {"subsample": 0.5, "booster": "dart", "rate_drop": 0.3}})
    assert [host.code for host in job] == [0, 0, 0], job.report()
    assert [host.model_files for host in job] == [["xgboost-model"], [], []]
    assert ["broadcast from algo-1" in host.log for host in job] == [True] * 3
    assert "rank 1 of 3" in job["algo-2"].log


def test_ending_is_no_race(tmp_path: Path) -> None:
    job = run(tmp_path, plan={"times": 25, "rounds": 1})
    assert [host.code for host in job] == [0, 0], job.report()
    assert [host.log.count("2 hosts have met") for host in job] == [25, 25]
    assert [host.failure for host in job] == ["", ""]


@pytest.mark.parametrize("idle", ["algo-1", "algo-2"])
def test_a_host_without_rows_waits_and_succeeds(tmp_path: Path, idle: str) -> None:
    job = run(tmp_path, hosts=3, plans={idle: {"rows": 0}})
    assert [host.code for host in job] == [0, 0, 0], job.report()
    writer = "algo-2" if idle == "algo-1" else "algo-1"
    assert [host.model_files for host in job] == [["xgboost-model"] if host.name == writer else [] for host in job]
    assert f"{idle} got no rows" in job[writer].log


def test_two_jobs_on_one_machine_are_apart(tmp_path: Path) -> None:
    with running(tmp_path / "a") as one, running(tmp_path / "b") as other:
        assert [host.code for job in (one, other) for host in job.wait()] == [0, 0, 0, 0]


# Hosts that do not


@pytest.mark.parametrize(
    ("host", "point"), [("algo-2", "load"), ("algo-2", "round-5"), ("algo-1", "round-5"), ("algo-2", "done")]
)
def test_a_host_that_is_killed_ends_the_others_with_its_name(tmp_path: Path, host: str, point: str) -> None:
    job = run(tmp_path, hosts=3, plans={host: {"at": {point: "kill"}}})
    assert job[host].code == -signal.SIGKILL
    for other in job.but(host):
        assert other.code == 1, job.report()
        assert other.failure.startswith(f"AlgorithmError: host {host} was lost: its connection broke off"), job.report()


@pytest.mark.parametrize("missing", ["algo-1", "algo-2"])
def test_a_host_that_never_comes_is_named(tmp_path: Path, missing: str) -> None:
    # Only who waits for the missing host gives up in time. The others start first, so that it has heard of them by then.
    waits = ["algo-1"] if missing == "algo-2" else ["algo-2", "algo-3"]
    plans: dict[str, Any] = {name: {"environment": {"SAGEMAKER_HOSTS_CONNECT_SECONDS": "5"}} for name in waits}
    if missing == "algo-2":
        plans["algo-1"]["at"] = {"start": "hold"}
        plans["algo-3"] = {"at": {"start": "pass"}}
    with running(tmp_path, hosts=3, absent=[missing], plans=plans) as job:
        if missing == "algo-2":
            job["algo-3"].wait_for("reached: pass")
            job["algo-1"].go_on()
        for host in job.wait():
            assert host.code == 1, job.report()
            assert host.failure.startswith(f"AlgorithmError: host {missing} was lost before it began: "), job.report()


@pytest.mark.parametrize("frozen", ["algo-1", "algo-2"])
def test_a_host_that_hangs_ends_the_others_and_then_itself(tmp_path: Path, frozen: str) -> None:
    environment = {"SAGEMAKER_HOSTS_SILENCE_SECONDS": "5"}
    with running(tmp_path, hosts=2, plans={frozen: {"at": {"round-5": "freeze"}}}, environment=environment) as job:
        job.wait(but=[frozen])
        for host in job.but(frozen):
            assert host.code == 1
            assert host.failure.startswith(f"AlgorithmError: host {frozen} was lost: it said nothing for 5 seconds")
        job[frozen].signal(signal.SIGCONT)
        job.wait()
        assert job[frozen].code == 1
        assert "was lost" in job[frozen].failure


@pytest.mark.parametrize(
    ("what", "reason", "told"),
    [
        (
            "refuse",
            "UserError: train/a.csv: row 3",
            "UserError: host algo-2 failed: train/a.csv: row 3, column 2: 'x' is no number",
        ),
        (
            "break",
            "AlgorithmError: ValueError: a mistake",
            "AlgorithmError: host algo-2 failed: ValueError: a mistake of ours",
        ),
    ],
)
def test_a_host_that_fails_tells_the_others_why(tmp_path: Path, what: str, reason: str, told: str) -> None:
    # The others are inside XGBoost by then, in an allreduce that waits for this host.
    job = run(tmp_path, hosts=3, plans={"algo-2": {"at": {"round-5": what}}})
    assert [host.code for host in job] == [1, 1, 1], job.report()
    assert job["algo-2"].failure.startswith(reason)
    assert [host.failure for host in job.but("algo-2")] == [told, told]


def test_what_all_hosts_find_wrong_is_told_in_the_same_words(tmp_path: Path) -> None:
    job = run(tmp_path, plans={"algo-2": {"width": 4}})
    told = "UserError: the rows have 5 features on algo-1 and 4 on algo-2: give every file of the channel train the same columns"
    assert [(host.code, host.failure) for host in job] == [(1, told), (1, told)]


def test_models_that_differ_between_hosts_are_not_passed_off_as_one(tmp_path: Path) -> None:
    # XGBoost's linear booster trains each host's own model without a word.
    job = run(tmp_path, plan={"params": {"booster": "gblinear"}, "plain_matrix": True})
    assert [host.code for host in job] == [1, 1], job.report()
    # One of them may be told by the other before it has found out itself.
    assert ["the model differs between the hosts algo-1 and algo-2" in host.failure for host in job] == [True, True]


def test_a_stopped_host_stops_the_others_and_no_failure_is_written(tmp_path: Path) -> None:
    with running(tmp_path, hosts=3, plan={"at": {"load": "hold"}}) as job:
        for host in job:
            host.wait_for("reached: hold")
        job["algo-2"].signal(signal.SIGTERM)
        job.wait()
        assert [(host.code, host.failure) for host in job] == [(143, "")] * 3, job.report()


def test_all_hosts_stop_after_the_same_round_when_one_is_asked_to(tmp_path: Path) -> None:
    plans = {"algo-2": {"at": {"round-3": "hold"}}}
    with running(tmp_path, plan={"stop_politely": True, "rounds": 100_000}, plans=plans) as job:
        job["algo-2"].wait_for("reached: hold")
        job["algo-2"].signal(signal.SIGTERM)
        job["algo-2"].go_on()
        job.wait()
        assert ["stopped after round 3" in host.log for host in job] == [True, True], job.report()
        assert [host.code for host in job] == [0, 0]


@pytest.mark.parametrize(("told", "late"), [("algo-1", "algo-2"), ("algo-2", "algo-1")])
def test_a_stop_while_the_group_forms_is_no_failure(tmp_path: Path, told: str, late: str) -> None:
    plans = {told: {"at": {"init": "pass"}}, late: {"at": {"init": "hold"}}}
    with running(tmp_path, plan={"stop_politely": True, "rounds": 100_000}, plans=plans) as job:
        job[late].wait_for("reached: hold")
        job[told].wait_for("reached: pass")
        time.sleep(0.5)  # by now it is inside XGBoost, where nothing can be seen of it
        job[told].signal(signal.SIGTERM)
        job[late].go_on()
        job.wait()
        assert ["stopped after round 0" in host.log for host in job] == [True, True], job.report()
        assert [host.code for host in job] == [0, 0]


def test_a_port_that_is_taken_is_said_with_what_to_set(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        with running(tmp_path, port=port, absent=["algo-2"]) as job:
            job.wait()
            assert f"cannot listen on 127.0.0.1:{port}" in job["algo-1"].failure
            assert "Set SAGEMAKER_HOSTS_PORT to a free port" in job["algo-1"].failure


def test_a_host_of_another_job_is_refused_and_disturbs_nobody(tmp_path: Path) -> None:
    with (
        loopback_port() as port,
        running(tmp_path / "a", port=port, hosts=3, environment={"TRAINING_JOB_NAME": "one"}, absent=["algo-3"]) as one,
    ):
        with running(tmp_path / "b", port=port, environment={"TRAINING_JOB_NAME": "two"}, absent=["algo-1"]) as other:
            other.wait()
            assert "for another job" in other["algo-2"].failure
            assert "SAGEMAKER_HOSTS_PORT" in other["algo-2"].failure
        assert [host.process.poll() for host in one] == [None, None]


def test_a_stranger_on_the_port_disturbs_nobody(tmp_path: Path) -> None:
    def comes(port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(b"GET /ping HTTP/1.1\r\nHost: algo-1\r\n\r\n")
        except ConnectionRefusedError:
            return False
        return True

    # The leader listens as long as it waits for this one.
    plans = {"algo-2": {"at": {"start": "hold"}}}
    with loopback_port() as port, running(tmp_path, port=port, plans=plans) as job:
        wait_for(lambda: comes(port), 60, "the leader never listened")
        job["algo-2"].go_on()
        job.wait()
        assert [host.code for host in job] == [0, 0], job.report()
