"""What is easily missed: who waits for whom, forks, seeds, and what lies in `__main__`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine_of_file")


@flame.remote
def identity(value: Any) -> Any:
    return value


@flame.remote
class Journal:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def note(self, entry: Any) -> list[Any]:
        self.entries.append(entry)
        return self.entries


def test_a_late_argument_of_one_caller_holds_up_no_other() -> None:
    @flame.remote
    def other(journal: Any) -> list[Any]:
        return flame.get([journal.note.remote(n) for n in range(2)])[-1]  # type: ignore[no-any-return]

    journal, held = Journal.remote(), gate()
    late = journal.note.remote(held.wait.remote("late"))
    behind = journal.note.remote("behind")
    assert flame.get(other.remote(journal)) == [0, 1]
    assert not late.done()
    held.open.remote()
    assert flame.get(behind) == [0, 1, "late", "behind"]


def test_seeds_in_tasks_do_not_confuse_what_they_make() -> None:
    @flame.remote
    def seeded(number: int) -> list[Any]:
        refs = []
        for n in range(5):
            random.seed(1)
            np.random.seed(1)
            refs += [flame.put((number, n)), identity.remote((number, n))]
        return [flame.get(ref) for ref in refs]

    found = flame.get([seeded.remote(number) for number in range(8)])
    assert found == [[(m, n) for n in range(5) for _ in range(2)] for m in range(8)]


def test_a_task_may_fork_and_its_child_cannot_use_the_session() -> None:
    @flame.remote
    def fork() -> tuple[int, Any]:
        ref = flame.put("stored")
        pid = os.fork()
        if not pid:
            status = 1
            try:
                flame.get(ref)
            except flame.ForkedError:
                status = 7
            finally:
                os._exit(status)
        status = os.waitpid(pid, 0)[1]
        return os.waitstatus_to_exitcode(status), flame.get([ref, identity.remote(5)])

    assert [flame.get(fork.remote()) for _ in range(3)] == [(7, ["stored", 5])] * 3


def test_an_array_of_a_class_of_ones_own_keeps_its_class() -> None:
    class Metres(np.ndarray):  # type: ignore[type-arg]
        def in_feet(self) -> Any:
            return np.asarray(self) / 0.3048

    array = np.full(100_000, 3.048).view(Metres)
    for got in (flame.get(identity.remote(array)), flame.get(flame.put(array))):
        assert type(got) is Metres
        assert np.allclose(got.in_feet(), 10)


def test_sys_exit_in_a_method_fails_its_call_and_hurts_no_other_actor(engine_of_file: str) -> None:
    @flame.remote
    class Leaving:
        def leave(self) -> None:
            sys.exit(3)

    is_here = engine_of_file in ("inline", "embedded")
    journal, leaving = Journal.remote(), Leaving.remote()
    with pytest.raises(
        flame.ActorDiedError if is_here else flame.TaskError,
        match=r"sys\.exit\(3\)" if is_here else "SystemExit: 3",
    ):
        flame.get(leaving.leave.remote())
    assert flame.get(journal.note.remote("here")) == ["here"]


def test_plain_methods_of_an_async_actor_run_on_its_loop() -> None:
    @flame.remote
    class Mixed:
        async def thread_of_coroutines(self) -> int:
            return threading.get_ident()

        def thread_of_methods(self) -> int:
            return threading.get_ident()

    mixed = Mixed.remote()
    threads = flame.get([mixed.thread_of_coroutines.remote(), mixed.thread_of_methods.remote()])
    assert len(set(threads)) == 1


def test_an_actor_may_make_actors_and_give_their_handles_away() -> None:
    @flame.remote
    class Publisher:
        def found(self) -> Any:
            journal = Journal.remote()
            flame.get(journal.note.remote("founded"))
            return journal

    journal = flame.get(Publisher.remote().found.remote())
    assert flame.get(journal.note.remote("sold")) == ["founded", "sold"]


SCRIPT = """
import dataclasses, enum, sys, typing
import flame_remote as flame

class Pair(typing.NamedTuple):
    left: int
    right: int

@dataclasses.dataclass
class Box:
    content: object

class Colour(enum.Enum):
    RED = 1

class Plain:
    pass

@flame.remote
def twice(value):
    assert isinstance(value, (Pair, Box, Colour, Plain, type)) or callable(value), value
    return value, helper(1)

flame.init(engine=sys.argv[1], num_cpus=1)

def helper(n):
    return n + 1

values = [Pair(1, 2), Box([Pair(3, 4)]), Colour.RED, Box]
assert [flame.get(twice.remote(value)) for value in values] == [(value, 2) for value in values]
assert type(flame.get(twice.remote(Plain()))[0]) is Plain
assert flame.get(twice.remote(lambda: 5))[0]() == 5

@flame.remote
def answer():
    return "old"

old = answer.remote()

@flame.remote
def answer():
    return "new"

assert flame.get([old, answer.remote()]) == ["old", "new"], "redefined"
print("done")
"""


def test_what_a_script_defines_is_the_same_there_and_back(
    engine_of_file: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, script, engine_of_file],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": str(Path(flame.__file__).parent.parent)},
    )
    assert (ended.stderr, ended.stdout) == ("", "done\n")
