"""Actors whose process dies, and that are constructed again."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate
from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]
pytestmark = [pytest.mark.usefixtures("engine"), only_embedded]


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """Name a file to which lines are added."""
    path = tmp_path / "ledger"
    path.touch()
    return str(path)


def note(ledger: str, line: str) -> int:
    """Add a line, in any process; return how many of that there are now."""
    with open(ledger, "a") as file:
        file.write(f"{line}\n")
    return Path(ledger).read_text().splitlines().count(line)


class Plain:
    """Counts, and dies when it is told to."""

    def __init__(self, start: Any = 0, ledger: str = "") -> None:
        self.value = int(sum(start)) if hasattr(start, "__iter__") else start
        if ledger:
            note(ledger, "constructed")

    def add(self, n: int = 1) -> int:
        self.value += n
        return self.value

    def die(self, ledger: str = "", times: int = 1) -> int:
        if not ledger or note(ledger, "died") <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.add(100)

    def note(self, ledger: str, line: str) -> None:
        note(ledger, line)

    def pid(self) -> int:
        return os.getpid()


Counter = flame.remote(Plain)


def test_an_actor_stays_dead_unless_it_may_be_restarted() -> None:
    counter = Counter.remote()
    with pytest.raises(flame.ActorDiedError, match=r"is dead: its process was killed by signal 9"):
        flame.get(counter.die.remote())
    with pytest.raises(flame.ActorDiedError):
        flame.get(counter.add.remote())


def test_a_restarted_actor_begins_with_its_constructors_arguments() -> None:
    counter = Counter.options(max_restarts=1).remote(5)
    assert flame.get(counter.add.remote()) == 6
    before = flame.get(counter.pid.remote())
    with pytest.raises(flame.ActorDiedError, match="is being constructed again") as caught:
        flame.get(counter.die.remote())
    assert caught.value.is_restarting
    assert "killed by signal 9 (SIGKILL)" in str(caught.value)
    assert flame.get(counter.add.remote()) == 6
    assert flame.get(counter.pid.remote()) != before
    (info,) = [info for info in flame.state.actors() if info.id in repr(counter)]
    assert (info.state, info.restarts) == ("alive", 1)


def test_restarts_are_counted_and_the_last_death_is_final(ledger: str) -> None:
    counter = Counter.options(max_restarts=2).remote(0, ledger)
    for _ in range(3):
        with pytest.raises(flame.ActorDiedError):
            flame.get(counter.die.remote())
    with pytest.raises(flame.ActorDiedError, match=r"is dead: .*it had been restarted 2 times"):
        flame.get(counter.add.remote())
    assert note(ledger, "constructed") == 4  # one of them is this


def test_an_actor_may_be_restarted_as_often_as_it_takes() -> None:
    counter = Counter.options(max_restarts=-1).remote(1)
    for _ in range(4):
        with pytest.raises(flame.ActorDiedError):
            flame.get(counter.die.remote())
    assert flame.get(counter.add.remote()) == 2


def test_calls_that_had_not_begun_wait_and_keep_their_order(ledger: str) -> None:
    counter, held = Counter.options(max_restarts=1).remote(), gate()
    first = counter.note.remote(held.wait.remote(ledger), "before")
    lost = counter.die.remote()
    others = [counter.note.remote(ledger, str(n)) for n in range(20)]
    flame.get(held.open.remote())
    flame.get([first, *others])
    with pytest.raises(flame.ActorDiedError):
        flame.get(lost)
    assert Path(ledger).read_text().split() == ["before", *map(str, range(20))]


def test_a_call_is_repeated_as_often_as_it_may(ledger: str) -> None:
    counter = Counter.options(max_restarts=-1, max_task_retries=2).remote(1)
    assert flame.get(counter.die.remote(ledger, 2)) == 101
    assert note(ledger, "died") == 4  # one of them is this
    with pytest.raises(flame.ActorDiedError):
        flame.get(counter.die.remote())
    assert flame.get(counter.add.remote()) == 2


def test_a_call_can_say_itself_how_often_it_is_repeated(ledger: str) -> None:
    counter = Counter.options(max_restarts=-1, max_task_retries=5).remote()
    with pytest.raises(flame.ActorDiedError):
        flame.get(counter.die.options(max_task_retries=0).remote(ledger, 1))
    plain = Counter.options(max_restarts=-1).remote()
    assert flame.get(plain.die.options(max_task_retries=-1).remote(ledger, 3)) == 100


def test_what_the_constructor_takes_lives_as_long_as_it_may_be_needed() -> None:
    start = flame.put(bytes(range(256)) * 1000)
    counter = Counter.options(max_restarts=1).remote(start)
    weak = start.weak()
    del start
    total = 32640 * 1000
    assert flame.get(counter.add.remote()) == total + 1
    with pytest.raises(flame.ActorDiedError):
        flame.get(counter.die.remote())
    assert flame.get(counter.add.remote()) == total + 1
    assert weak() is not None
    with pytest.raises(flame.ActorDiedError):
        flame.get(counter.die.remote())
    assert weak() is None


def test_kill_is_final_unless_it_says_otherwise() -> None:
    counter = Counter.options(max_restarts=-1).remote(3)
    flame.get(counter.add.remote())
    flame.kill(counter, no_restart=False)
    assert flame.get(counter.add.remote()) == 4
    flame.kill(counter)
    with pytest.raises(flame.ActorDiedError, match=r"ended by flame.kill\(\)"):
        flame.get(counter.add.remote())


def test_an_actor_that_dies_in_its_constructor_again_and_again_is_given_up(ledger: str) -> None:
    @flame.remote(max_restarts=-1)
    class Fragile:
        def __init__(self) -> None:
            note(ledger, "tried")
            os._exit(4)

        def use(self) -> None: ...

    with pytest.raises(flame.WorkerCrashedError, match="exited with code 4"):
        flame.get(Fragile.remote().use.remote())
    assert note(ledger, "tried") == 7  # one of them is this


def test_an_actor_that_cannot_be_constructed_again_says_why(ledger: str) -> None:
    @flame.remote(max_restarts=3)
    class Once:
        def __init__(self) -> None:
            if note(ledger, "tried") > 1:
                raise ValueError("only once")

        def die(self) -> None:
            os._exit(1)

        def use(self) -> None: ...

    once = Once.remote()
    with pytest.raises(flame.ActorDiedError):
        flame.get(once.die.remote())
    with pytest.raises(ValueError, match="only once"):
        flame.get(once.use.remote())


def test_a_restarting_actor_is_called_that(ledger: str) -> None:
    fifo = f"{ledger}.fifo"
    os.mkfifo(fifo)

    @flame.remote(max_restarts=1)
    class Slow:
        def __init__(self) -> None:
            if note(ledger, "tried") > 1:
                with open(fifo) as file:
                    file.read()

        def die(self) -> None:
            os._exit(1)

        def use(self) -> int:
            return 1

    slow = Slow.remote()
    with pytest.raises(flame.ActorDiedError):
        flame.get(slow.die.remote())
    ref = slow.use.remote()
    with open(fifo, "w"):  # its constructor waits for what comes here
        (info,) = flame.state.actors(name="Slow")
        assert (info.state, info.restarts) == ("restarting", 1)
        assert "which is restarting: its constructor" in flame.explain(ref)
    assert flame.get(ref) == 1


def test_a_named_actor_keeps_its_name_through_its_restarts() -> None:
    counter = Counter.options(name="phoenix", max_restarts=1, lifetime="detached").remote(1)
    with pytest.raises(flame.ActorDiedError):
        flame.get(counter.die.remote())
    del counter
    assert flame.get(flame.get_actor("phoenix").add.remote()) == 2
    flame.kill(flame.get_actor("phoenix"))


def test_calls_that_run_beside_each_other_are_all_lost_or_repeated(ledger: str) -> None:
    @flame.remote(max_restarts=1)
    class Beside:
        async def wait(self, ref: list[Any]) -> Any:
            note(ledger, "waits")
            return await ref[0]

        async def die(self) -> None:
            while Path(ledger).read_text().count("waits") < 2:
                await asyncio.sleep(0)
            os._exit(1)

    beside, held = Beside.remote(), gate()
    lost = beside.wait.remote([held.wait.remote()])
    repeated = beside.wait.options(max_task_retries=1).remote([held.wait.remote()])
    died = beside.die.remote()
    for ref in (lost, died):
        with pytest.raises(flame.ActorDiedError, match="is being constructed again"):
            flame.get(ref)
    flame.get(held.open.remote())
    assert flame.get(repeated) == "through"


def test_an_actor_that_tasks_have_made_is_restarted_too() -> None:
    @flame.remote
    def make() -> Any:
        return Counter.options(max_restarts=1, max_task_retries=1).remote(20)

    @flame.remote
    def use(counter: Any, ledger: str) -> int:
        total: int = flame.get(counter.add.options(max_task_retries=0).remote())
        return total

    counter = flame.get(make.remote())
    with pytest.raises(flame.ActorDiedError):
        flame.get(counter.die.options(max_task_retries=0).remote())
    assert flame.get(use.remote(counter, "")) == 21


# --- the state that is kept ------------------------------------------------------------------


class Keeping(Plain):
    """Tells its state."""

    def __flame_checkpoint__(self) -> dict[str, int]:
        return {"value": self.value}

    def __flame_restore__(self, state: dict[str, int]) -> None:
        self.value = state["value"]

    def fail(self) -> None:
        self.value += 1000
        raise ValueError("after all")

    async def add_later(self) -> int:
        return self.add()


def test_a_restarted_actor_goes_on_from_the_state_that_it_has_told() -> None:
    counter = flame.remote(max_restarts=-1)(Plain).remote(1)
    keeping = flame.remote(max_restarts=-1, max_concurrency=1)(Keeping).remote(1)
    for actor, expected in ((counter, 2), (keeping, 3)):
        assert flame.get(actor.add.remote()) == 2
        with pytest.raises(flame.ActorDiedError):
            flame.get(actor.die.remote())
        assert flame.get(actor.add.remote()) == expected


def test_the_state_is_kept_after_calls_that_raise_and_after_coroutines() -> None:
    keeping = flame.remote(max_restarts=-1)(Keeping).remote(1)
    with pytest.raises(ValueError, match="after all"):
        flame.get(keeping.fail.remote())
    assert flame.get(keeping.add_later.remote()) == 1002
    with pytest.raises(flame.ActorDiedError):
        flame.get(keeping.die.remote())
    assert flame.get(keeping.add_later.remote()) == 1003


def test_the_state_can_be_kept_less_often() -> None:
    keeping = flame.remote(max_restarts=-1, checkpoint_every=3)(Keeping).remote(0)
    assert flame.get([keeping.add.remote() for _ in range(5)])[-1] == 5
    with pytest.raises(flame.ActorDiedError):
        flame.get(keeping.die.remote())
    assert flame.get(keeping.add.remote()) == 4


def test_large_states_and_refs_in_them_are_kept_and_let_go() -> None:
    @flame.remote(max_restarts=-1)
    class Holder:
        def hold(self, refs: list[Any]) -> None:
            self.state = refs, bytes(1 << 20)

        def __flame_checkpoint__(self) -> Any:
            return self.state

        def __flame_restore__(self, state: Any) -> None:
            self.state = state

        def read(self) -> Any:
            return flame.get(self.state[0][0]), len(self.state[1])

        def die(self) -> None:
            os._exit(1)

    holder, ref = Holder.remote(), flame.put("treasure")
    weak = ref.weak()
    flame.get(holder.hold.remote([ref]))
    del ref
    with pytest.raises(flame.ActorDiedError):
        flame.get(holder.die.remote())
    assert flame.get(holder.read.remote()) == ("treasure", 1 << 20)
    assert weak() is not None
    flame.kill(holder)
    with pytest.raises(flame.ActorDiedError):
        flame.get(holder.read.remote())
    del holder


def test_a_state_that_cannot_travel_fails_the_call() -> None:
    class Locked(Keeping):
        def __flame_checkpoint__(self) -> Any:
            return iter(lambda: 0, 1), __import__("threading").Lock()

    locked = flame.remote(max_restarts=1)(Locked).remote()
    with pytest.raises(flame.SerializationError, match=r"the state that Locked.__flame_checkpoint"):
        flame.get(locked.add.remote())


def test_hooks_come_in_pairs_and_options_need_them() -> None:
    class Half:
        def __flame_checkpoint__(self) -> int:
            return 1

    with pytest.raises(flame.InvalidOptionError, match="but no __flame_restore__"):
        flame.remote(max_restarts=1)(Half).remote()
    with pytest.raises(flame.InvalidOptionError, match="checkpoint_every needs"):
        Counter.options(checkpoint_every=2).remote()
    with pytest.raises(flame.InvalidOptionError, match="checkpoint_every must be 1 or more"):
        Counter.options(checkpoint_every=0)
