"""The object cache as any Flight client sees it."""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bson
import psutil
import pyarrow as pa
import pytest
from pyarrow import flight

from flame_remote.core.payload import RECEIVED_SCHEMA, SENT_SCHEMA
from tests.caches import MODULE, ROOT, Cache, running_cache
from tests.conftest import wait_until

TIMEOUT = flight.FlightCallOptions(timeout=20)


@pytest.fixture
def client(cache: Cache) -> Iterator[Any]:
    with flight.FlightClient(cache.endpoint) as connected:
        yield connected


@pytest.fixture
def prefix() -> str:
    return f"server-{uuid.uuid4()}/session"


def rows(*values: bytes | None) -> pa.Table:
    return pa.table({"version": [0] * len(values), "data": list(values)}, schema=SENT_SCHEMA)


def put(client: Any, where: str | bytes, table: pa.Table) -> dict[str, Any]:
    descriptor = (
        flight.FlightDescriptor.for_path(where)
        if isinstance(where, str)
        else flight.FlightDescriptor.for_command(where)
    )
    writer, reader = client.do_put(descriptor, table.schema, TIMEOUT)
    for batch in table.to_batches():
        writer.write_batch(batch)
    writer.done_writing()
    answer = reader.read()
    writer.close()
    document: dict[str, Any] = bson.decode(answer.to_pybytes())
    return document


def get(client: Any, ticket: str) -> pa.Table:
    return client.do_get(flight.Ticket(ticket.encode()), TIMEOUT).read_all()


def act(client: Any, name: str, body: str) -> bytes:
    results = client.do_action(flight.Action(name, body.encode()), TIMEOUT)
    return b"".join(result.body.to_pybytes() for result in results)


def counted(client: Any, prefix: str = "") -> dict[str, int]:
    document: dict[str, int] = bson.decode(act(client, "COUNT", prefix))
    return document


# --- putting and getting --------------------------------------------------------------------------


def test_the_answer_to_a_put_is_a_ref_in_flames_order(
    cache: Cache, client: Any, prefix: str
) -> None:
    ref = put(client, prefix, rows(b"x"))
    assert list(ref) == ["endpoint", "key", "version"]
    assert ref["endpoint"] == cache.endpoint
    assert ref["version"] == 1
    assert uuid.UUID(ref["key"].rpartition("/")[2]).version == 4


def test_rows_are_joined_into_one_object(client: Any, prefix: str) -> None:
    ref = put(client, prefix, pa.concat_tables([rows(b"ab", b""), rows(b"cd")]))
    answer = get(client, ref["key"])
    assert answer.schema == RECEIVED_SCHEMA
    assert answer.to_pylist() == [{"version": 1, "kind": "base", "data": b"abcd"}]


def test_an_answer_holds_what_the_client_lacks(client: Any, prefix: str) -> None:
    key = put(client, f"{prefix}/object", rows(b"base"))["key"]
    put(client, f"PATCH:{key}".encode(), rows(b"one"))
    assert put(client, f"PATCH:{key}".encode(), rows(b"t", b"wo"))["version"] == 3
    everything = [(1, "base", b"base"), (2, "patch", b"one"), (3, "patch", b"two")]

    def answered(version: int) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in get(client, f"{key}:{version}").to_pylist()]

    assert answered(0) == everything
    assert answered(1) == everything[1:]
    assert answered(2) == everything[2:]
    assert answered(3) == []
    assert answered(4) == everything
    assert put(client, key, rows(b"new"))["version"] == 4
    assert answered(2) == [(4, "base", b"new")]  # its base is gone


def test_a_table_is_sent_as_it_is_with_its_version(client: Any, prefix: str) -> None:
    table = pa.table({"a": [1, 2]}).replace_schema_metadata(
        {"flame.cache.format": "arrow-table-v1", "flame.cache.version": "0", "mine": "too"}
    )
    ref = put(client, f"{prefix}/table", table)
    assert put(client, f"{prefix}/table", table)["version"] == 2
    answer = get(client, ref["key"])
    assert answer.equals(table)
    assert answer.schema.metadata[b"flame.cache.version"] == b"2"
    assert answer.schema.metadata[b"mine"] == b"too"
    not_modified = get(client, f"{ref['key']}:2")
    assert not_modified.num_rows == 0
    assert b"flame.cache.format" not in (not_modified.schema.metadata or {})
    info = client.get_flight_info(flight.FlightDescriptor.for_path(ref["key"]), TIMEOUT)
    assert info.schema.names == ["a"]


# --- looking around -------------------------------------------------------------------------------


def test_an_object_can_be_looked_up_without_being_read(
    cache: Cache, client: Any, prefix: str
) -> None:
    key = put(client, prefix, rows(b"12345"))["key"]
    info = client.get_flight_info(flight.FlightDescriptor.for_path(*key.split("/")), TIMEOUT)
    (endpoint,) = info.endpoints
    assert endpoint.ticket.ticket == key.encode()
    assert [location.uri.decode() for location in endpoint.locations] == [cache.endpoint]
    assert info.total_bytes == 5
    schema = client.get_schema(flight.FlightDescriptor.for_path(key), TIMEOUT).schema
    assert schema == RECEIVED_SCHEMA
    listed = {
        info.endpoints[0].ticket.ticket.decode(): info.total_bytes
        for info in client.list_flights(options=TIMEOUT)
    }
    assert listed[key] == 5


def test_the_actions_are_listed(client: Any) -> None:
    assert [action.type for action in client.list_actions(TIMEOUT)] == [
        "DELETE",
        "DELETE_MANY",
        "COUNT",
    ]


def test_deleting_says_ok_also_where_there_is_nothing(client: Any, prefix: str) -> None:
    application = prefix.partition("/")[0]
    keys = [put(client, f"{prefix}/{name}", rows(b"123"))["key"] for name in "abcd"]
    other = put(client, f"{prefix}2/a", rows(b"12"))["key"]
    assert counted(client, prefix) == {"keys": 4, "bytes": 12}
    assert act(client, "DELETE", keys[0]) == act(client, "DELETE", keys[0]) == b"OK"
    assert act(client, "DELETE_MANY", f"{keys[1]}\n{keys[2]}") == b"OK"
    assert counted(client, f"{application}/*") == {"keys": 2, "bytes": 5}
    assert act(client, "DELETE", prefix) == b"OK"
    assert get(client, other).num_rows == 1
    assert act(client, "DELETE", f"{application}/*") == b"OK"
    assert counted(client, f"{application}/*") == {"keys": 0, "bytes": 0}


# --- what is refused ------------------------------------------------------------------------------


def test_what_does_not_exist_is_not_found(client: Any, prefix: str) -> None:
    descriptor = flight.FlightDescriptor.for_path(f"{prefix}/missing")
    for call in (
        lambda: get(client, f"{prefix}/missing:0"),
        lambda: put(client, f"PATCH:{prefix}/missing".encode(), rows(b"x")),
        lambda: client.get_flight_info(descriptor, TIMEOUT),
        lambda: client.get_schema(descriptor, TIMEOUT),
    ):
        with pytest.raises(KeyError) as raised:
            call()
        assert ".py" not in str(raised.value).partition("gRPC client debug")[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: get(client, "a/b:0"),
        lambda client: get(client, "a/b/c:x"),
        lambda client: get(client, "a/b/c:" + "9" * 30),
        lambda client: get(client, "../b/c"),
        lambda client: get(client, "a/b/" + "x" * 100_000),
        lambda client: client.do_get(flight.Ticket(b"\xff/\xff/\xff"), TIMEOUT).read_all(),
        lambda client: put(client, "a", rows(b"x")),
        lambda client: put(client, "a/*", rows(b"x")),
        lambda client: put(client, "a/b/c/d", rows(b"x")),
        lambda client: put(client, b"PATCH:a/b", rows(b"x")),
        lambda client: put(client, b"MEND:a/b/c", rows(b"x")),
        lambda client: put(client, "a/b", rows()),
        lambda client: put(client, "a/b", rows(b"x", None)),
        lambda client: put(client, "a/b", pa.table({"data": ["text"]})),
        lambda client: put(client, "a/b", pa.table({"other": [1]})),
        lambda client: put(
            client,
            "a/b",
            pa.table({"a": pa.array(["x"]).dictionary_encode()}).replace_schema_metadata(
                {"flame.cache.format": "arrow-table-v1"}
            ),
        ),
        lambda client: act(client, "DELETE", "a"),
        lambda client: act(client, "DELETE", "*/b"),
        lambda client: act(client, "DELETE", "a/*/c"),
        lambda client: act(client, "DELETE_MANY", "a/b/c\na/b"),
        lambda client: act(client, "EXPLODE", "a/b"),
        lambda client: act(client, "COUNT", "a"),
    ],
)
def test_what_makes_no_sense_is_an_invalid_argument(client: Any, call: Any) -> None:
    before = counted(client)
    with pytest.raises(pa.ArrowInvalid):
        call(client)
    assert counted(client) == before


def test_a_client_that_dies_within_a_put_leaves_nothing(
    cache: Cache, client: Any, prefix: str
) -> None:
    program = """
import sys, pyarrow as pa
from pyarrow import flight
schema = pa.schema([("version", pa.uint64()), ("data", pa.binary())])
client = flight.FlightClient(sys.argv[1])
for i in range(20):
    writer, _ = client.do_put(flight.FlightDescriptor.for_path(f"{sys.argv[2]}/{i}"), schema)
    writer.write_batch(pa.record_batch([pa.array([0], pa.uint64()), [b"half"]], schema=schema))
    globals()[f"kept{i}"] = writer
print("written", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, cache.endpoint, prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as half:
        assert half.stdout is not None
        assert half.stdout.readline() == b"written\n"
        half.kill()
    # Each stream holds a thread of the server until its end was handled.
    server = psutil.Process(cache.process.pid)
    assert wait_until(lambda: len(connections_of(server)) <= 1)
    assert counted(client, prefix) == {"keys": 0, "bytes": 0}


def connections_of(server: psutil.Process) -> list[Any]:
    return [c for c in server.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED]


def test_random_bytes_change_nothing_and_leave_nothing(cache: Cache, client: Any) -> None:
    server = psutil.Process(cache.process.pid)
    put(client, "noise/session/object", rows(b"x"))
    before = server.num_fds()
    generator = random.Random(1)
    beginnings = [b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    for number in range(60):
        with socket.create_connection(("127.0.0.1", cache.port), timeout=20) as noise:
            noise.sendall(beginnings[number % 3] + generator.randbytes(generator.randint(1, 3000)))
            if number % 2:
                noise.shutdown(socket.SHUT_WR)
    assert get(client, "noise/session/object").num_rows == 1
    assert wait_until(lambda: server.num_fds() <= before)


# --- the process ----------------------------------------------------------------------------------


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", MODULE, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_it_does_not_open_itself_to_other_machines_without_token_and_tls() -> None:
    done = run("--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert done.stderr == (
        "object cache: --host 0.0.0.0 can be reached from other machines, so it also needs "
        "--token-file and --tls-cert and --tls-key; or use --host 127.0.0.1, which only this "
        "machine can reach\n"
    )


def test_a_wildcard_address_is_none_for_refs(tmp_path: Any) -> None:
    options = ("--token-file", "t", "--tls-cert", "c", "--tls-key", "k")
    done = run("--host", "0.0.0.0", *options)
    assert done.returncode == 2
    assert "say one with --advertise-host" in done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tls-cert", "x"], "--tls-cert and --tls-key belong together"),
        (["--token-file", "/none/token"], "/none/token"),
        (["--tls-cert", "/none/c", "--tls-key", "/none/k"], "/none/c"),
        (["--storage", "/proc/nowhere"], "/proc/nowhere"),
        (["--port", "99999"], "99999"),
    ],
)
def test_options_that_cannot_be_are_told_in_a_line(options: list[str], complaint: str) -> None:
    done = run("--port", "0", *options)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_told_and_not_shared(cache: Cache) -> None:
    done = run("--port", str(cache.port))
    assert done.returncode == 2
    assert f"cannot listen at 127.0.0.1:{cache.port}: Address already in use" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_also_while_a_put_is_open(arrow: None, number: signal.Signals) -> None:
    with running_cache() as cache, flight.FlightClient(cache.endpoint) as client:
        path = flight.FlightDescriptor.for_path("a/b")
        writer, _ = client.do_put(path, SENT_SCHEMA, TIMEOUT)
        writer.write_table(rows(b"half"))
        cache.process.send_signal(number)
        assert cache.process.wait(20) == 0
        with pytest.raises((pa.ArrowException, OSError)):
            writer.close()


def test_it_ends_when_its_parent_is_killed() -> None:
    program = f"""
import os, subprocess, sys
ready, theirs = os.pipe()
cache = subprocess.Popen(
    [sys.executable, "-m", {MODULE!r}, "--port", "0", "--ready-fd", str(theirs)],
    pass_fds=[theirs], stdout=subprocess.DEVNULL,
)
os.close(theirs)
os.read(ready, 10)
print(cache.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        ended = os.pidfd_open(pid)
        parent.kill()
    try:
        import select

        assert select.select([ended], [], [], 20)[0]
    finally:
        os.close(ended)


def test_it_prints_nothing_and_unpickles_nothing(arrow: None, tmp_path: Any) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    command = [sys.executable, "-m", MODULE, "--port", "0", "--ready-fd", "1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline())
        with flight.FlightClient(f"grpc://127.0.0.1:{port}") as client:
            trap = pickle.dumps(Trap())
            key = put(client, "a/b", rows(b"FLM\x00" + trap))["key"]
            put(client, f"PATCH:{key}".encode(), rows(trap))
            assert get(client, key).num_rows == 2
            with pytest.raises(KeyError):
                get(client, "a/b/missing")
        process.terminate()
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")
    assert list(tmp_path.iterdir()) == []


# --- other users ----------------------------------------------------------------------------------

NOBODY = 65534


@contextmanager
def forwarded_by_another_user(endpoint: str) -> Iterator[str]:
    """Have a child of another user pass one connection on; yield where. No new interpreter: it may
    be one that other users cannot read.
    """
    port = int(endpoint.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        child = os.fork()
        if not child:
            try:
                os.setuid(NOBODY)
                client = listening.accept()[0]
                forward(client, socket.create_connection(("127.0.0.1", port)))
            finally:
                os._exit(0)
        try:
            yield f"grpc://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def forward(one: socket.socket, other: socket.socket) -> None:
    while True:
        for readable in select.select([one, other], [], [])[0]:
            data = readable.recv(1 << 16)
            if not data:
                return
            (other if readable is one else one).sendall(data)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a socket of another user")
def test_other_users_of_this_machine_are_refused(cache: Cache) -> None:
    with (
        forwarded_by_another_user(cache.endpoint) as elsewhere,
        flight.FlightClient(elsewhere) as other,
    ):
        for call in (
            lambda: list(other.list_actions(TIMEOUT)),
            lambda: counted(other),
            lambda: put(other, "app/session", rows(b"x")),
            lambda: get(other, "app/session/object:0"),
        ):
            with pytest.raises(flight.FlightUnauthorizedError, match="takes calls of that user"):
                call()
