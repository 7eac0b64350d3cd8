"""Programs that use flame_remote, and what befalls them. Run by tests/faults/driver.py.

    python programs.py NAME ARGUMENT...

A program writes "ready" as soon as it can be struck, and some wait for a line before they go on.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import flame_remote as flame

PROGRAMS: dict[str, Callable[..., Any]] = {}


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    PROGRAMS[function.__name__] = function
    return function


def ready(*words: object) -> None:
    print("ready", *words, flush=True)


def forever() -> None:
    threading.Event().wait()


@flame.remote
def square(x: int) -> int:
    return x * x


@flame.remote
def size(value: bytearray) -> int:
    return len(value)


@flame.remote
def sleep_forever(started: Any) -> None:
    flame.get(started.note.remote(os.getpid()))
    forever()


@flame.remote
def work_forever(started: Any) -> None:
    flame.get(started.note.remote(os.getpid()))
    # Does not let go of the interpreter lock: no thread of the worker's runs beside it.
    ctypes.PyDLL(None).poll(None, 0, -1)


@flame.remote
class Started:
    """Knows which tasks have started."""

    def __init__(self) -> None:
        self._pids: list[int] = []
        self._changed = threading.Condition()

    def note(self, pid: int) -> None:
        with self._changed:
            self._pids.append(pid)
            self._changed.notify_all()

    def wait(self, number: int) -> list[int]:
        with self._changed:
            self._changed.wait_for(lambda: len(self._pids) >= number)
            return self._pids


def started_board() -> Any:
    return Started.options(max_concurrency=8).remote()


# --- killed in the middle -------------------------------------------------------------------------


@program
def sleeping() -> None:
    """Two tasks sleep, others wait."""
    board = started_board()
    refs = [sleep_forever.remote(board) for _ in range(20)]
    flame.get(board.wait.remote(2))
    ready()
    flame.get(refs)


@program
def busy() -> None:
    """Two tasks are in C code that never lets go of the interpreter lock."""
    board = started_board()
    refs = [work_forever.remote(board) for _ in range(20)]
    flame.get(board.wait.remote(2))
    ready()
    flame.get(refs)


@program
def actors() -> None:
    """Actors of all three kinds are at work."""
    import asyncio

    @flame.remote
    class Plain:
        def work(self) -> None:
            forever()

    @flame.remote
    class Async:
        async def work(self) -> None:
            await asyncio.sleep(1000)

        async def there(self) -> None:
            pass

    board, plain, asynchronous = started_board(), Plain.remote(), Async.remote()
    refs = [plain.work.remote(), asynchronous.work.remote(), board.wait.remote(1000)]
    flame.get(asynchronous.there.remote())
    ready()
    flame.get(refs)


@program
def stopped() -> None:
    """A worker is stopped, and so would never hear of anything."""
    board = started_board()
    refs = [sleep_forever.remote(board) for _ in range(2)]
    for pid in flame.get(board.wait.remote(2)):
        os.kill(pid, signal.SIGSTOP)
        break
    ready()
    flame.get(refs)


@program
def large(seed: str) -> None:
    """Values of 32 MB go to and fro; ends by its own hand, at an instant that nobody knows."""
    value = bytearray(32 << 20)

    @flame.remote
    def give_back(value: bytearray) -> bytearray:
        value[:4096] = bytes(4096)
        return value

    flame.get([give_back.remote(bytearray(4096)) for _ in range(2)])
    ready()
    sys.stdin.readline()
    delay = random.Random(int(seed)).random() * 0.2
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    while True:
        flame.get([give_back.remote(flame.put(value)), give_back.remote(flame.put(value))])


@program
def with_children() -> None:
    """Tasks have left children behind, in the ways in which one leaves them behind."""

    @flame.remote
    def leave() -> list[int]:
        return leave_children()

    pids = flame.get(leave.remote())
    board = started_board()
    refs = [sleep_forever.remote(board) for _ in range(2)]
    flame.get(board.wait.remote(2))
    ready(*pids)
    flame.get(refs)


def leave_children() -> list[int]:
    """Start a child, one that is deaf to hang-ups, one in a session of its own, and an orphan."""
    nap = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
    pids = [
        subprocess.Popen(nap).pid,
        subprocess.Popen(["nohup", *nap], stdout=-3, stderr=-3).pid,
        subprocess.Popen(nap, start_new_session=True, env={}).pid,
    ]
    read, write = os.pipe()
    if not os.fork():
        os.setsid()
        pid = os.fork()
        if pid:
            os.write(write, str(pid).encode())
            os._exit(0)
        signal.pause()
    pids.append(int(os.read(read, 32)))
    os.wait()
    os.close(read)
    os.close(write)
    return pids


# --- interrupted ----------------------------------------------------------------------------------


class Interruptions:
    """Strikes the main thread with SIGINT, at instants that nobody foresees."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._main = threading.main_thread().ident

    def strike(self, action: Callable[[], object]) -> None:
        """Do something over and over until it is interrupted."""
        seconds = self._random.random() * 0.01
        thread = threading.Thread(target=self._strike_after, args=[seconds])
        try:
            thread.start()
            while True:
                action()
        except KeyboardInterrupt:
            thread.join()

    def _strike_after(self, seconds: float) -> None:
        threading.Event().wait(seconds)
        assert self._main is not None
        signal.pthread_kill(self._main, signal.SIGINT)


@program
def interrupted(what: str, times: str) -> None:
    """Something is interrupted often; afterwards all is as ever."""

    @flame.remote
    class Adder:
        def __init__(self) -> None:
            self._sum = 0

        def add(self, n: int) -> int:
            self._sum += n
            return self._sum

    board, adder = started_board(), Adder.remote()
    never = board.wait.remote(1000)
    shared = flame.put(bytearray(1 << 20))
    actions: dict[str, Callable[[], object]] = {
        "get what never comes": lambda: flame.get(never),
        "wait for what never comes": lambda: flame.wait([never, square.remote(1)], num_returns=2),
        "submit with a value": lambda: size.remote(shared),
        "put much": lambda: flame.put(bytearray(1 << 20)),
        "make an actor": lambda: Adder.remote(),
    }
    flame.get([square.remote(1), adder.add.remote(0)])
    ready()
    interruptions = Interruptions(what)
    for n in range(int(times)):
        interruptions.strike(actions[what])
        assert flame.get(square.remote(n)) == n * n
    assert flame.get([square.remote(n) for n in range(100)]) == [n * n for n in range(100)]
    assert flame.get(adder.add.remote(1)) > 0
    assert flame.get(shared) == bytearray(1 << 20)
    flame.shutdown()
    print("works")


# --- short of descriptors -------------------------------------------------------------------------


@program
def forgets_to_close() -> None:
    """Everything is used for the first time when no file can be opened any more."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    @flame.remote
    class Holder:
        def hold(self, value: object) -> object:
            return value

    flame.get(square.remote(1))
    ready()
    files: list[int] = []
    with suppress(OSError):
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    error = Holder.remote().hold.remote(1).exception(timeout=20)
    assert isinstance(error, (flame.WorkerStartError, flame.ActorDiedError)), error
    print(error)
    assert flame.get(square.remote(3)) == 9
    for file in files:
        os.close(file)
    assert flame.get(Holder.remote().hold.remote(1)) == 1
    flame.shutdown()


# --- ended by itself ------------------------------------------------------------------------------


def start_many() -> list[flame.ObjectRef[None]]:
    """Start two tasks that never end, and 1,000 that wait for them."""
    board = started_board()
    refs = [sleep_forever.remote(board) for _ in range(1002)]
    flame.get(board.wait.remote(2))
    return refs


@program
def returns() -> None:
    refs = start_many()
    ready()
    sys.stdin.readline()
    assert refs


@program
def exits() -> None:
    refs = start_many()
    ready()
    sys.stdin.readline()
    assert refs
    sys.exit(5)


@program
def raises() -> None:
    refs = start_many()
    ready()
    sys.stdin.readline()
    raise KeyError(len(refs))


@program
def exits_at_once() -> None:
    refs = start_many()
    ready()
    sys.stdin.readline()
    os._exit(4 if refs else 0)


@program
def segfaults() -> None:
    refs = start_many()
    ready()
    sys.stdin.readline()
    ctypes.string_at(0 if refs else 1)


@program
def uses_the_engine_at_exit() -> None:
    def late() -> None:
        print("atexit", flame.get(square.remote(3)), flush=True)

    flame.get(square.remote(2))
    atexit.register(late)
    ready()
    sys.stdin.readline()


@program
def uses_the_engine_in_finalisers() -> None:
    class Late:
        def __init__(self, square: Any, get: Any) -> None:
            self.square, self.get = square, get
            self.ref = square.remote(4)

        def __del__(self) -> None:
            for use in (
                lambda: self.get(self.square.remote(5)),
                lambda: self.get(self.ref),
                lambda: self.ref.done(),
                lambda: self.square.remote(6),
            ):
                try:
                    use()
                except flame.FlameError as error:
                    str(error)

    global late
    late = Late(square, flame.get)
    late.itself = late
    sys.modules["keeper"] = Late(square, flame.get)  # type: ignore[assignment]
    ready()
    sys.stdin.readline()


@program
def leaves_threads_waiting() -> None:
    board = started_board()
    never = sleep_forever.remote(board)

    def wait() -> None:
        try:
            flame.get(never)
        except flame.EngineClosedError:
            os.write(1, b"closed\n")  # in one piece: the others do so, too

    for _ in range(4):
        threading.Thread(target=wait, daemon=True).start()
    flame.get(board.wait.remote(1))
    ready()
    sys.stdin.readline()


@program
def shuts_down_in_atexit() -> None:
    atexit.register(flame.shutdown)
    flame.get(square.remote(2))
    ready()
    sys.stdin.readline()


@program
def has_no_standard_streams() -> None:
    ready()
    sys.stdin.readline()
    for descriptor in range(3):
        os.close(descriptor)
    sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]

    @flame.remote
    def speak() -> int:
        print("nobody hears this")
        return 7

    os._exit(flame.get(speak.remote()))


if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
