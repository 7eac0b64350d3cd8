"""What is left after the session manager was killed, and what is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flame_remote._proto import types_pb2
from flame_remote._server.owners import start_time_of
from flame_remote.testing import LocalCluster, local_cluster
from tests.conftest import wait_until
from tests.server.client import ROOT, Client, failure_of

pytestmark = pytest.mark.usefixtures("arrow")

GONE_SECONDS = 2.0  # after the session manager was killed nothing of it is there


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(warm=False) as cluster:
        yield cluster


@pytest.fixture
def mortal() -> Iterator[LocalCluster]:
    """A cluster of the test's own, to be killed."""
    with local_cluster(warm=False) as cluster:
        yield cluster


def new_client(cluster: LocalCluster) -> Client:
    return Client(cluster.endpoint)


def family_of(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def assert_gone(processes: list[psutil.Process]) -> None:
    assert wait_until(lambda: not any(map(lives, processes)), GONE_SECONDS), [
        process.cmdline() for process in processes if lives(process)
    ]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_acknowledged_work_outlives_a_kill_of_the_session_manager(
    mortal: LocalCluster, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    client = new_client(mortal)
    client.register("program", description="mine")
    client.open("s", "program", max_instances=1, common_data=b"common")
    assert client.invoke("s", b"echo:ended") == b"ended"
    running = client.send("s", b"block:" + bytes(fifo))
    assert wait_until(lambda: client.session("s").status.running == 1)
    waiting = [client.send("s", b"echo:%d" % number) for number in range(10)]
    client.open("closed", "program")
    client.shut("closed")
    processes = family_of(mortal.pid)
    mortal.kill()
    client.close()
    assert_gone(processes)

    mortal.restart()
    client = new_client(mortal)
    assert "program" in client.applications()
    assert client.task("s", "1").spec.output == b"ended"
    assert client.task("s", "1").spec.input == b"echo:ended"
    fifo.write_bytes(b"again")  # the task that ran runs again
    assert client.end_of("s", running).spec.output == b"again"
    outputs = [client.end_of("s", task_id).spec.output for task_id in waiting]
    assert outputs == [b"%d" % number for number in range(10)]
    assert client.session("s").spec.common_data == b"common"
    assert client.session("closed").status.state == types_pb2.Closed
    assert client.invoke("s", b"echo:new") == b"new"
    client.close()


def test_a_kill_leaves_no_process_not_even_those_that_left_their_group(
    mortal: LocalCluster,
) -> None:
    client = new_client(mortal)
    client.register("program")
    client.open("s", "program")
    child = psutil.Process(int(client.invoke("s", b"child")))
    processes = [*family_of(mortal.pid), child]
    assert len(processes) >= 5  # session manager, cache, spawner, instance, its child
    sockets = Path(client.invoke("s", b"env:FLAME_INSTANCE_ENDPOINT").decode()).parent
    client.close()
    mortal.kill()
    assert_gone(processes)
    assert not sockets.exists()


def test_what_an_instance_leaves_behind_ends_with_it(cluster: LocalCluster) -> None:
    client = new_client(cluster)
    client.register("program")
    client.open("leaving", "program")
    child = psutil.Process(int(client.invoke("leaving", b"child")))
    client.shut("leaving")
    client.close()
    assert wait_until(lambda: not lives(child))


def test_a_cluster_ends_with_the_process_that_started_it_and_its_folders_go() -> None:
    code = f"""
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from flame_remote.testing import local_cluster
        with local_cluster(warm=False) as cluster:
            print(cluster.pid, cluster.folder, flush=True)
            sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        processes = family_of(int(pid))
        process.kill()
        assert wait_until(lambda: not any(map(lives, processes)))
        assert not Path(folder).exists()


def test_the_object_cache_is_started_again_at_the_same_address(mortal: LocalCluster) -> None:
    from flame_remote.core.cache_address import CacheAddress
    from flame_remote.core.cache_client import CacheClient
    from flame_remote.core.flight import close_connections, connection_to
    from flame_remote.core.payload import payload_of_bytes

    client = CacheClient(connection_to(CacheAddress(mortal.cache_endpoint)))
    ref = client.put("app/session", payload_of_bytes([b"kept"]), 10)
    (cache,) = (
        process
        for process in psutil.Process(mortal.pid).children()
        if any("object_cache" in word for word in process.cmdline())
    )
    cache.kill()
    assert wait_until(lambda: not lives(cache))

    def is_back() -> bool:
        try:
            fetched = client.fetch(ref.key, 0, 5).fetched
        except Exception:
            return False
        return fetched is not None and fetched.base.to_pybytes() == b"kept"

    assert wait_until(is_back, 20)
    close_connections()


def test_the_applications_of_an_owner_that_was_killed_go_and_others_stay(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    client = new_client(cluster)
    owner = subprocess.Popen(["sleep", "1000"])
    label = f"flame-remote.owner={owner.pid}:{start_time_of(owner.pid)}"
    client.register("dying", labels=[label])
    client.register("staying", labels=[f"flame-remote.owner={os.getpid()}:0"])
    for name in ("dying", "staying"):
        client.open(name, name)
    instance = psutil.Process(int(client.invoke("dying", b"pid")))
    client.send("dying", b"block:" + bytes(fifo))
    assert client.invoke("staying", b"echo:x") == b"x"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert wait_until(lambda: "dying" not in client.applications(), GONE_SECONDS)
    assert wait_until(lambda: not lives(instance), GONE_SECONDS)
    assert [e.status.session_id for e in client.executors()] == ["staying"]
    assert client.invoke("staying", b"echo:x") == b"x"
    client.shut("staying")
    client.close()


def test_when_the_process_that_starts_instances_is_killed_the_cluster_goes_on(
    mortal: LocalCluster, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    client = new_client(mortal)
    client.register("program")
    client.open("s", "program", max_instances=1)
    client.invoke("s", b"echo:x")
    task_id = client.send("s", b"block:" + bytes(fifo))
    (spawner,) = (
        process
        for process in psutil.Process(mortal.pid).children()
        if any("spawner" in word for word in process.cmdline())
    )
    spawner.kill()
    assert "was ended together with" in failure_of(client.end_of("s", task_id))
    assert client.invoke("s", b"echo:y") == b"y"
    client.close()
