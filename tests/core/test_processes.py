"""Forks, and the end of the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.fault_server import FaultServer

ROOT = Path(__file__).parent.parent.parent

CONNECTED = "from flame_remote import core\nassert core.list_nodes()\n"

FORKED = """
import os, threading
from flame_remote import core
from flame_remote.exceptions import ForkedError

session = core.create_session("app", session_id="s1")
connection = core.get_connection()
waiting = session.run(b"of the parent")
while not list(session.list_tasks()): pass
if os.fork() == 0:
    try:
        session.get_task("1")
    except ForkedError as error:
        print(error, flush=True)
    assert core.get_connection() is not connection
    mine = core.get_session("s1")
    assert mine.get_task("1").input == b"of the parent"
    ended = mine.watch_task(core.open_session("s1").create_task(b"end").id)
    print([int(task.state) for task in ended], flush=True)
    print(sorted(task.id for task in mine.list_tasks()), flush=True)
    try:
        core.get_session("no")
    except core.ClusterError as error:
        print(repr(error.code), flush=True)
    raise SystemExit(7)  # the ordinary end of a process, with all that it frees
print(os.waitstatus_to_exitcode(os.wait()[1]))
assert core.list_nodes()
assert not waiting.done()
session.create_task(b"end all")
print(waiting.result(20))
"""


@pytest.fixture
def ending_server() -> Iterator[FaultServer]:
    """Yield a server where a task whose input is "end" ends at once, and "end all" ends all."""
    server = FaultServer()
    create = server.frontend.CreateTask

    async def create_and_end(request: object, context: object) -> object:
        task = await create(request, context)
        for key, other in server.frontend.tasks.items():
            if task.spec.input == b"end all" or (other is task and task.spec.input == b"end"):
                server.frontend.set_state(key, 2, b"out")
        return task

    server.frontend.CreateTask = create_and_end  # type: ignore[method-assign, assignment]
    server.stop()
    server.start()
    yield server
    server.close()


def run(program: str, server: FaultServer, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONPATH": str(ROOT),
        "FLAME_ENDPOINT": server.endpoint,
    }
    return subprocess.run(
        [sys.executable, *flags, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_a_forked_child_starts_anew_and_does_not_disturb_its_parent(
    ending_server: FaultServer,
) -> None:
    ended = run(FORKED, ending_server, "-W", "ignore")  # newer Pythons warn of threads and forks
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "this connection was made before os.fork() and belongs to the parent process; "
        "ask for sessions and connections anew in the child",
        "[2]",
        "['1', '2']",
        "<FlameErrorCode.NOT_FOUND: 5>",
        "7",
        "b'out'",
    ]
    assert ended.returncode == 0


def test_a_forked_child_that_does_nothing_ends_without_a_word(server: FaultServer) -> None:
    program = CONNECTED + (
        "import os\nif os.fork() == 0: raise SystemExit(0)\n"
        "assert os.wait()[1] == 0\nassert core.list_nodes()\n"
    )
    ended = run(program, server, "-W", "ignore")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_end_of_the_interpreter_is_quiet_and_fails_what_is_waited_for(
    server: FaultServer,
) -> None:
    program = (
        "from flame_remote import core\n"
        "session = core.create_session('app')\n"
        "future = session.run(b'')\n"
        "updates = session.watch_task(session.create_task(b'').id)\n"
        "future.add_done_callback(lambda future: print(future.exception()))\n"
    )
    ended = run(program, server, "-X", "dev")
    assert ended.stdout == f"the connection to {server.endpoint} was closed\n"
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_program_may_use_its_connection_as_it_ends(server: FaultServer) -> None:
    program = (
        "import atexit\nfrom flame_remote import core\ncore.list_nodes()\n"
        "atexit.register(lambda: print(core.list_nodes()[0].name))\n"
    )
    ended = run(program, server)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "n1\n", "")


def test_importing_the_client_loads_nothing_heavy(server: FaultServer) -> None:
    program = (
        "import sys\nimport flame_remote.core\n"
        "print({'grpc', 'google.protobuf', 'pyarrow', 'bson', 'yaml'} & sys.modules.keys())\n"
    )
    assert run(program, server).stdout == "set()\n"
