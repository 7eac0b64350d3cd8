"""What a client sees of a local cluster, over real gRPC and with real processes."""

from __future__ import annotations

import os
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flame_remote._proto import frontend_pb2 as fp
from flame_remote._proto import types_pb2
from flame_remote.testing import LocalCluster
from tests.server.client import Client, failure_of, refusal_of

# --- tasks ------------------------------------------------------------------------------------


def test_a_task_runs_and_its_output_comes_back(client: Client, session: str) -> None:
    assert client.invoke(session, b"echo:hello") == b"hello"


def test_no_input_and_no_output_are_not_empty_ones(client: Client, session: str) -> None:
    task = client.end_of(session, client.send(session, None))
    assert not task.spec.HasField("input")
    assert not task.spec.HasField("output")
    assert client.end_of(session, client.send(session, b"echo:")).spec.HasField("output")


def test_tasks_one_after_the_other_run_in_one_process(client: Client, session: str) -> None:
    pids = {client.invoke(session, b"pid") for _ in range(5)}
    assert len(pids) == 1
    assert client.invoke(session, b"count") == b"6"


def test_tasks_at_once_run_in_several_processes(
    client: Client, session: str, tmp_path: Path
) -> None:
    fifos = [tmp_path / name for name in "ab"]
    for fifo in fifos:
        os.mkfifo(fifo)
    tasks = [client.send(session, b"block:" + bytes(fifo)) for fifo in fifos]
    for fifo in fifos:  # opens when somebody reads: both run at the same time
        fifo.write_bytes(b"go")
    assert [client.end_of(session, task).spec.output for task in tasks] == [b"go", b"go"]


def test_the_created_task_is_pending_and_counts_from_one(client: Client, session: str) -> None:
    spec = types_pb2.TaskSpec(session_id=session, input=b"echo:x")
    tasks = [client.call("CreateTask", fp.CreateTaskRequest(task=spec)) for _ in range(2)]
    assert [task.metadata.id for task in tasks] == ["1", "2"]
    assert tasks[0].status.state == types_pb2.Pending
    assert tasks[0].spec.input == b"echo:x"
    client.end_of(session, "2")


def test_a_watch_shows_each_state_once_with_events_and_ends(
    client: Client, session: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    watch = client.watch(session, client.send(session, b"block:" + bytes(fifo)))
    assert next(watch).status.state == types_pb2.Running
    fifo.write_bytes(b"done")
    last = next(watch)
    assert (last.status.state, last.spec.output) == (types_pb2.Succeed, b"done")
    assert [event.code for event in last.status.events] == [0, 1, 2]
    assert list(watch) == []


def test_a_watch_of_an_ended_task_shows_it_once(client: Client, session: str) -> None:
    client.invoke(session, b"echo:x")
    (task,) = client.watch(session, "1")
    assert task.status.state == types_pb2.Succeed


def test_many_tasks_watched_from_many_threads_all_end(client: Client, session: str) -> None:
    def run(number: int) -> bytes:
        return client.invoke(session, b"echo:%d" % number)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(run, range(300))) == [b"%d" % n for n in range(300)]
    counts = client.session(session).status
    assert (counts.succeed, counts.pending, counts.running) == (300, 0, 0)


def test_large_inputs_and_outputs_pass(client: Client, session: str) -> None:
    large = os.urandom(6 << 20)  # the usual limit is 4 MiB
    assert client.invoke(session, b"echo:" + large) == large


def test_a_list_shows_all_tasks(client: Client, session: str) -> None:
    for _ in range(3):
        client.invoke(session, b"echo:x")
    tasks = client.call("ListTask", fp.ListTaskRequest(session_id=session))
    assert sorted(task.metadata.id for task in tasks) == ["1", "2", "3"]


# --- failures ---------------------------------------------------------------------------------


def test_a_failed_task_tells_its_error_in_the_watch_and_when_asked(
    client: Client, session: str
) -> None:
    task = client.end_of(session, client.send(session, b"fail:Test error in task"))
    assert task.status.state == types_pb2.Failed
    assert failure_of(task) == "Test error in task"
    assert failure_of(client.task(session, "1")) == "Test error in task"
    assert client.session(session).status.failed == 1


@pytest.mark.parametrize(
    ("task_input", "how"),
    [(b"crash", "ended with exit code 3"), (b"kill", r"was killed by signal 11 \(SIGSEGV\)")],
    ids=["exit", "signal"],
)
def test_a_crash_fails_its_task_with_how_and_the_next_task_has_a_new_process(
    client: Client, session: str, task_input: bytes, how: str
) -> None:
    before = client.invoke(session, b"pid")
    task = client.end_of(session, client.send(session, task_input))
    pid = before.decode()
    assert re.search(rf"the process of instance \S+ \(pid {pid}\) {how}", failure_of(task))
    if task_input == b"crash":
        assert "last words" in failure_of(task)
    assert client.invoke(session, b"pid") != before


def test_an_instance_that_refuses_the_session_is_told_and_fails_the_tasks(client: Client) -> None:
    client.open("refused", "program", common_data=b"refuse")
    task = client.end_of("refused", client.send("refused", b"echo:x"))
    assert "intentional session enter failure" in failure_of(task)
    found = client.session("refused").status
    assert [event.code for event in found.events] == [1001, 1001, 1001, 1002]
    assert "failed to bind session with return_code 12" in found.events[0].message
    assert found.state == types_pb2.Open
    client.shut("refused")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"command": "/no/such/program"}, "No such file or directory"),
        ({}, "has no command"),
        (
            {"command": sys.executable, "arguments": ["-c", "import nothing_like_this"]},
            "No module named 'nothing_like_this'",
        ),
        ({"command": "true"}, "ended with exit code 0"),
        ({"command": "true", "working_directory": "/proc/nowhere"}, "/proc/nowhere"),
    ],
    ids=["missing", "none", "import-error", "ends-at-once", "folder"],
)
def test_a_program_that_cannot_start_is_told_with_what_it_said(
    client: Client, spec: dict[str, object], words: str, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    client.register(name, **{"command": "", **spec})
    client.open(name, name)
    task = client.end_of(name, client.send(name, b""))
    assert words in failure_of(task)
    assert "return_code 11" in client.session(name).status.events[0].message
    client.shut(name)


# --- sessions and applications ----------------------------------------------------------------


def test_closing_twice_is_no_error_and_a_closed_session_stays_listed(client: Client) -> None:
    client.open("closing", "program")
    client.shut("closing")
    assert client.shut("closing").status.state == types_pb2.Closed
    listed = client.call("ListSession", fp.ListSessionRequest()).sessions
    assert "closing" in [s.metadata.id for s in listed if s.status.state == types_pb2.Closed]


def test_what_waits_is_cancelled_by_closing_and_its_watch_ends(client: Client) -> None:
    client.register("never", shim=types_pb2.Wasm, command="x")
    client.open("never", "never")
    watch = client.watch("never", client.send("never", b""))
    client.shut("never")
    assert [task.status.state for task in watch] == [types_pb2.Cancelled]
    assert client.session("never").status.cancelled == 1


def test_the_texts_of_refusals_are_flame_s(client: Client, session: str) -> None:
    assert refusal_of(client.session, "nope") == ("NOT_FOUND", "nope")
    assert refusal_of(client.shut, "nope") == ("NOT_FOUND", "session <nope>")
    assert refusal_of(client.task, session, "x")[0] == "INVALID_ARGUMENT"
    assert refusal_of(client.task, session, "7")[0] == "NOT_FOUND"
    assert refusal_of(client.send, "nope", b"")[0] == "NOT_FOUND"
    assert refusal_of(client.open, session, "program", min_instances=1)[0] == "INVALID_ARGUMENT"
    assert refusal_of(client.open, "new", "no-such-application")[0] == "NOT_FOUND"
    assert refusal_of(lambda: list(client.watch(session, "7")))[0] == "NOT_FOUND"
    result = client.unregister("program")
    assert (result.return_code, result.message) == (
        -1,
        "Cannot unregister application 'program': has open sessions",
    )
    assert client.register("program").message == "Application 'program' already exists"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"working_directory": "relative"}, "must be an absolute path, got: relative"),
        ({"schema": types_pb2.ApplicationSchema(input="{")}, "invalid input schema"),
        ({"schema": types_pb2.ApplicationSchema(common_data="3")}, "invalid common data schema"),
    ],
)
def test_an_application_that_cannot_be_meant_is_refused(
    client: Client, spec: dict[str, object], words: str
) -> None:
    status, text = refusal_of(client.register, "wrong", **spec)
    assert status == "INVALID_ARGUMENT"
    assert words in text


def test_the_default_applications_are_there(client: Client) -> None:
    assert {"flmrun", "flmexec", "flmping"} <= set(client.applications())
    request = fp.GetApplicationRequest(name="flmrun")
    spec = client.call("GetApplication", request).spec
    assert spec.command.endswith("/bin/uv")
    words = ["run", "--python", "python${FLAME_PYTHON_VERSION}", "python"]
    assert list(spec.arguments)[:4] == words
    assert (spec.installer, spec.delay_release, spec.max_instances) == ("python", 60, 1_000_000)
    assert not spec.HasField("working_directory")


def test_a_watch_ends_with_not_found_when_the_session_is_removed(client: Client) -> None:
    client.register("removed", shim=types_pb2.Wasm, command="x")
    client.open("removed", "removed")
    task_id = client.send("removed", b"")
    client.shut("removed")
    client.unregister("removed")
    assert refusal_of(lambda: list(client.watch("removed", task_id)))[0] == "NOT_FOUND"


# --- what an instance sees --------------------------------------------------------------------


def test_an_instance_is_told_where_the_cluster_is(
    client: Client, session: str, cluster: LocalCluster
) -> None:
    for variable, value in cluster.environment.items():
        assert client.invoke(session, b"env:" + variable.encode()) == value.encode()
    first_on_path = b"run:__import__('shutil').which('python3')"
    assert client.invoke(session, first_on_path).startswith(
        os.path.dirname(sys.executable).encode()
    )
    assert client.invoke(session, b"told:name") == b"program"
    assert client.invoke(session, b"told:command") == sys.executable.encode()
    own_group = b"run:os.getpgid(0) == os.getpid() != os.getpgid(os.getppid())"
    assert client.invoke(session, own_group) == b"True"
    assert client.invoke(session, b"run:signal.getsignal(signal.SIGTERM)") == b"0"


def test_an_instance_leaves_before_it_ends(client: Client, tmp_path: Path) -> None:
    client.register("leaving", env={"ON_LEAVE": str(tmp_path / "left")}, delay_release=0)
    client.open("leaving", "leaving")
    client.invoke("leaving", b"echo:x")
    while client.executors():  # each look is a call; it ends by itself with delay_release 0
        pass
    assert (tmp_path / "left").read_text() == "left"
    client.shut("leaving")


def test_listings_show_the_instance_and_the_node(client: Client, session: str) -> None:
    client.invoke(session, b"echo:x")
    (executor,) = client.executors()
    assert executor.status.session_id == session
    assert executor.status.state == types_pb2.ExecutorBound
    (node,) = client.call("ListNodes", fp.ListNodesRequest()).nodes
    assert executor.spec.node == node.metadata.name
    assert node.status.state == types_pb2.Ready
    assert node.status.capacity.cpu >= 1
    one = client.call("GetNode", fp.GetNodeRequest(name=node.metadata.name)).node
    assert one.spec.hostname == node.spec.hostname
    status = refusal_of(client.call, "GetNode", fp.GetNodeRequest(name="other"))[0]
    assert status == "NOT_FOUND"


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        os.urandom(5000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(5000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x04\x00\x00\x00\x00\x00" * 100,
    ],
    ids=["nothing", "http1", "tls", "random", "http2-random", "http2-huge"],
)
def test_bytes_that_mean_nothing_do_no_harm(
    client: Client, cluster: LocalCluster, data: bytes
) -> None:
    port = int(cluster.endpoint.rpartition(":")[2])
    before = len(os.listdir(f"/proc/{cluster.pid}/fd"))
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(data)
    assert "flmrun" in client.applications()
    assert len(os.listdir(f"/proc/{cluster.pid}/fd")) <= before + 20


def test_a_request_that_is_no_message_fails_that_call_only(client: Client) -> None:
    call = client.channel.unary_unary("/flame.v1.Frontend/CreateTask")
    assert refusal_of(call, b"\xff" * 100, timeout=10)[0] == "INVALID_ARGUMENT"
    unknown = client.channel.unary_unary("/flame.v1.Frontend/NoSuchMethod")
    assert refusal_of(unknown, b"", timeout=10)[0] == "UNIMPLEMENTED"
    assert "flmrun" in client.applications()
