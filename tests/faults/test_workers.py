"""Workers that end, or stop, while they run a task, or while they run none."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import wait_until
from .helpers import Pipe, descendants, note, require_alive, say, square

pytestmark = pytest.mark.usefixtures("engine")


def overflow_the_stack() -> None:
    sys.setrecursionlimit(10**9)
    nested: Any = []
    for _ in range(10**6):
        nested = [nested]
    repr(nested)


WAYS: dict[str, tuple[Callable[[], object], str]] = {
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed by signal 9 (SIGKILL)"),
    "terminated": (lambda: os.kill(os.getpid(), signal.SIGTERM), "by signal 15 (SIGTERM)"),
    "left with 0": (lambda: os._exit(0), "exited with code 0 and without a result"),
    "left with 3": (lambda: os._exit(3), "exited with code 3 and without a result"),
    "segfault": (lambda: ctypes.string_at(0), "was killed by signal 11 (SIGSEGV)"),
    "abort": (os.abort, "was killed by signal 6 (SIGABRT)"),
    "division": (lambda: os.kill(os.getpid(), signal.SIGFPE), "by signal 8 (SIGFPE)"),
    "stack": (overflow_the_stack, "was killed by signal 11 (SIGSEGV)"),
}


@flame.remote(max_retries=0)
def end_process(way: str, ledger: str) -> None:
    note(ledger, "attempt")
    WAYS[way][0]()


@flame.remote
def hold(started: str, until: str, value: Any) -> Any:
    """Say that it runs, then return when something is said."""
    say(started, str(os.getpid()))
    with open(until) as file:
        file.readline()
    return value


@flame.remote
def pid() -> int:
    return os.getpid()


def two_workers() -> list[int]:
    """Return the numbers of two workers, both idle."""
    barrier = Meeting.options(max_concurrency=2).remote()
    pids: list[int] = flame.get([meet.remote(barrier) for _ in range(2)])
    return pids


@flame.remote
class Meeting:
    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def come(self) -> None:
        self._barrier.wait()


@flame.remote
def meet(meeting: Any) -> int:
    flame.get(meeting.come.remote())
    return os.getpid()


@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_ends_its_process_fails_alone(way: str, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    os.mkfifo(tmp_path / "until")
    with Pipe(tmp_path) as started:
        other = hold.remote(started.path, str(tmp_path / "until"), "unharmed")
        started.line()
        with pytest.raises(flame.WorkerCrashedError) as caught:
            flame.get(end_process.remote(way, ledger))
    say(str(tmp_path / "until"), "now")
    assert flame.get(other) == "unharmed"
    error = caught.value
    assert WAYS[way][1] in error.how
    assert error.name == "end_process"
    assert error.attempts == 1
    assert error.pid
    assert len(str(error).splitlines()[0]) <= 200
    assert note(ledger, "attempt") == 2  # one of them is this
    require_alive()


def test_a_crash_in_c_code_shows_where_the_task_was() -> None:
    @flame.remote(max_retries=0)
    def read_address_zero() -> None:
        ctypes.string_at(0)

    with pytest.raises(flame.WorkerCrashedError, match="in read_address_zero"):
        flame.get(read_address_zero.remote())


def test_the_last_words_of_a_lost_process_are_in_the_error() -> None:
    @flame.remote(max_retries=0)
    def complain() -> None:
        os.write(2, b"the disk is on fire\n")
        os._exit(1)

    with pytest.raises(flame.WorkerCrashedError, match="the disk is on fire"):
        flame.get(complain.remote())


@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
def test_what_a_task_raises_to_end_its_process_is_an_error_like_others(
    kind: type[BaseException],
) -> None:
    @flame.remote(max_retries=0)
    def leave() -> None:
        raise kind(3)

    workers = two_workers()
    for _ in range(4):
        with pytest.raises(flame.TaskError) as caught:
            flame.get(leave.remote())
        assert kind.__name__ in caught.value.remote_traceback
        assert not isinstance(caught.value, kind)
    assert flame.get(pid.remote()) in workers
    assert sorted(two_workers()) == sorted(workers)


def test_a_task_is_started_again_as_often_as_it_may(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")

    @flame.remote(max_retries=3)
    def die_twice() -> int:
        attempt = note(ledger, "attempt")
        if attempt <= 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return attempt

    assert flame.get(die_twice.remote()) == 3
    assert note(ledger, "attempt") == 4


@pytest.mark.parametrize("retries", [0, 1, 2, 3])
def test_a_task_that_always_dies_is_tried_exactly_so_often(retries: int, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    with pytest.raises(flame.WorkerCrashedError) as caught:
        flame.get(end_process.options(max_retries=retries).remote("killed", ledger))
    assert caught.value.attempts == retries + 1
    assert note(ledger, "attempt") == retries + 2


def test_retries_without_end_end_with_the_value(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")

    @flame.remote(max_retries=-1)
    def die_often() -> str:
        if note(ledger, "attempt") < 8:
            os._exit(1)
        return "at last"

    assert flame.get(die_often.remote()) == "at last"


def test_an_error_of_the_task_is_not_tried_again(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")

    @flame.remote(max_retries=3)
    def fail() -> None:
        note(ledger, "attempt")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        flame.get(fail.remote())
    assert note(ledger, "attempt") == 2


@pytest.mark.parametrize("retries", [0, 2])
def test_of_500_tasks_only_the_one_that_kills_its_process_fails(
    retries: int, tmp_path: Path
) -> None:
    ledger = str(tmp_path / "ledger")
    good = square.options(max_retries=0)
    before = [good.remote(n) for n in range(250)]
    poison = end_process.options(max_retries=retries).remote("killed", ledger)
    after = [good.remote(n) for n in range(250, 500)]
    assert flame.get(before + after) == [n * n for n in range(500)]
    with pytest.raises(flame.WorkerCrashedError):
        flame.get(poison)
    assert note(ledger, "attempt") == retries + 2


def test_many_poisonous_tasks_fail_each_by_itself(tmp_path: Path) -> None:
    @flame.remote(max_retries=0)
    def every_tenth_dies(n: int) -> int:
        if n % 10 == 3:
            os._exit(1)
        return n

    refs = [every_tenth_dies.remote(n) for n in range(100)]
    errors = [ref.exception() for ref in refs]
    failed = [n for n, error in enumerate(errors) if error is not None]
    assert failed == list(range(3, 100, 10))
    assert all(isinstance(errors[n], flame.WorkerCrashedError) for n in failed)
    assert [flame.get(ref) for n, ref in enumerate(refs) if n not in failed] == [
        n for n in range(100) if n % 10 != 3
    ]


def test_nobody_notices_that_an_idle_worker_was_killed() -> None:
    careful = square.options(max_retries=0)
    for n in range(10):
        for worker in {flame.get(pid.remote()) for _ in range(2)}:
            os.kill(worker, signal.SIGKILL)
        assert flame.get([careful.remote(n) for _ in range(4)]) == [n * n] * 4


def test_the_engine_recovers_when_all_its_processes_are_killed_together(tmp_path: Path) -> None:
    for attempt in range(3):
        os.mkfifo(tmp_path / f"until{attempt}")
        with Pipe(tmp_path, f"pipe{attempt}") as started:
            until = str(tmp_path / f"until{attempt}")
            again = hold.remote(started.path, until, "again")
            never = hold.options(max_retries=0).remote(started.path, until, "never")
            waiting = [square.options(max_retries=0).remote(n) for n in range(10)]
            started.line()
            started.line()
            for process in descendants(os.getpid()):
                os.kill(process, signal.SIGKILL)
            with pytest.raises(flame.WorkerCrashedError, match="1 attempt"):
                flame.get(never)
            started.line()
            say(until, "now")
            assert flame.get(again) == "again"
            assert flame.get(waiting) == [n * n for n in range(10)]
        require_alive()


def test_the_engine_recovers_when_only_the_spawner_is_killed(tmp_path: Path) -> None:
    flame.get(square.remote(1))
    (spawner,) = [child for child in descendants(os.getpid()) if descendants(child)]
    os.kill(spawner, signal.SIGKILL)
    require_alive()


def test_a_stopped_worker_goes_on_where_it_was(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "until")
    with Pipe(tmp_path) as started:
        held = hold.options(max_retries=0).remote(started.path, str(tmp_path / "until"), "done")
        worker = int(started.line())
    os.kill(worker, signal.SIGSTOP)
    require_alive()  # on the other one
    os.kill(worker, signal.SIGCONT)
    say(str(tmp_path / "until"), "now")
    assert flame.get(held) == "done"


def test_a_worker_that_is_stopped_is_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "until")
    with Pipe(tmp_path) as started:
        held = hold.options(max_retries=0).remote(started.path, str(tmp_path / "until"), "done")
        worker = int(started.line())
    os.kill(worker, signal.SIGSTOP)
    assert wait_until(lambda: "stopped" in caplog.text)
    os.kill(worker, signal.SIGCONT)
    say(str(tmp_path / "until"), "now")
    assert flame.get(held) == "done"
    (told,) = [record for record in caplog.records if "stopped" in record.message]
    assert told.levelname == "WARNING"
    for word in (f"worker process {worker}", "hold()", "(SIGSTOP)", f"kill -CONT {worker}"):
        assert word in told.message


def test_a_worker_that_holds_on_to_the_interpreter_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @flame.remote(max_retries=0)
    def sleep_in_c_code() -> str:
        ctypes.PyDLL(None).usleep(900_000)
        return "well"

    assert flame.get(sleep_in_c_code.remote()) == "well"
    assert not caplog.records


def test_a_task_for_which_memory_does_not_suffice_fails_and_its_worker_goes_on() -> None:
    @flame.remote(max_retries=0)
    def allocate(mib: int) -> tuple[int, int]:
        status = Path("/proc/self/status").read_text()
        used = int(status.split("VmSize:")[1].split()[0]) << 10
        unlimited = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), unlimited[1]))
        try:
            return os.getpid(), len(bytearray(mib << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, unlimited)

    workers = two_workers()
    for _ in range(4):
        with pytest.raises(MemoryError) as caught:
            flame.get(allocate.remote(400))
        assert isinstance(caught.value, flame.TaskError)
    pid, size = flame.get(allocate.remote(100))
    assert (pid in workers, size) == (True, 100 << 20)
    assert sorted(two_workers()) == sorted(workers)


def test_what_a_failed_task_had_is_let_go_of_at_once() -> None:
    class Kept:
        alive = 0

        def __init__(self) -> None:
            Kept.alive += 1

        def __del__(self) -> None:
            Kept.alive -= 1

    @flame.remote
    class Failing:
        def fail(self, where: str) -> None:
            gc.disable()  # it would find them in the end
            kept = Kept()
            try:
                raise LookupError(where)
            except LookupError as error:
                if kept:
                    raise ValueError(where) from error

        def alive(self) -> int:
            return Kept.alive

    for concurrency in (1, 2):
        failing = Failing.options(max_concurrency=concurrency).remote()
        for _ in range(3):
            with pytest.raises(ValueError, match="here"):
                flame.get(failing.fail.remote("here"))
        assert flame.get(failing.alive.remote()) == 0


def test_a_stopped_worker_can_be_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "until")
    with Pipe(tmp_path) as started:
        held = hold.options(max_retries=0).remote(started.path, str(tmp_path / "until"), "done")
        worker = int(started.line())
    os.kill(worker, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(flame.WorkerCrashedError, match="SIGKILL"):
        flame.get(held)
    require_alive()


def test_a_session_ends_though_a_worker_is_stopped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "until")
    with Pipe(tmp_path) as started:
        hold.remote(started.path, str(tmp_path / "until"), "never")
        os.kill(int(started.line()), signal.SIGSTOP)
    os.kill(flame.get(pid.remote()), signal.SIGSTOP)  # the other one, which is idle
    flame.shutdown()
    assert descendants(os.getpid()) == []


def test_a_task_that_is_killed_with_force_ends_and_others_do_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "until")
    with Pipe(tmp_path) as started:
        held = hold.remote(started.path, str(tmp_path / "until"), "never")
        started.line()
        others = [square.remote(n) for n in range(50)]
        assert flame.cancel(held, force=True)
        with pytest.raises(flame.TaskCancelledError):
            flame.get(held)
    assert flame.get(others) == [n * n for n in range(50)]


def test_no_reader_sees_part_of_a_result_whose_writer_was_killed() -> None:
    @flame.remote(max_retries=0)
    def die_while_returning(seed: int) -> bytes:
        import random

        delay = random.Random(seed).random() * 0.03
        value = bytes(32 << 20)
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return value

    whole = 0
    for seed in range(20):
        ref = die_while_returning.remote(seed)
        error = ref.exception()
        assert error is None or isinstance(error, flame.WorkerCrashedError)
        if error is None:
            whole += 1
            assert flame.get(ref) == bytes(32 << 20)
    require_alive()


def test_the_crash_of_an_actor_ends_its_calls_and_no_others() -> None:
    @flame.remote
    class Fragile:
        def work(self) -> int:
            return 1

        def crash(self) -> None:
            os.kill(os.getpid(), signal.SIGSEGV)

    fragile, sturdy = Fragile.remote(), Fragile.remote()
    assert flame.get([fragile.work.remote(), sturdy.work.remote()]) == [1, 1]
    calls = [fragile.crash.remote(), fragile.work.remote()]
    for call in calls:
        with pytest.raises(flame.ActorDiedError, match="SIGSEGV"):
            flame.get(call)
    with pytest.raises(flame.ActorDiedError, match="SIGSEGV"):
        flame.get(fragile.work.remote())
    assert flame.get(sturdy.work.remote()) == 1
    require_alive()
