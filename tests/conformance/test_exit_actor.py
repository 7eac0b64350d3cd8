"""Actors that end themselves."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate
from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]
pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
class Server:
    """Serves until it is told to leave."""

    def leave(self, _: Any = None) -> int:
        try:
            flame.exit_actor()
        except Exception:
            return 1

    def serve(self, _: Any = None) -> int:
        return 1

    def exit(self, code: Any, _: Any = None) -> None:
        sys.exit(code)

    def items(self, how: str) -> Iterator[int]:
        yield 1
        flame.exit_actor() if how == "exit_actor" else sys.exit(4)

    @flame.method(num_returns=2)
    def leave_twice(self) -> Any:
        flame.exit_actor()


@flame.remote
class Coroutines:
    """The same with coroutines."""

    async def leave(self) -> int:
        await asyncio.sleep(0)
        flame.exit_actor()

    async def exit(self, code: Any) -> None:
        await asyncio.sleep(0)
        sys.exit(code)

    async def serve(self, ref: list[Any]) -> Any:
        return await ref[0]


@pytest.mark.parametrize("kind", [Server, Coroutines])
def test_the_call_that_ends_its_actor_returns_none(kind: Any) -> None:
    server = kind.remote()
    assert flame.get(server.leave.remote()) is None


def test_calls_behind_it_say_that_the_actor_has_ended_by_itself() -> None:
    server, held = Server.options(max_restarts=-1, max_task_retries=-1).remote(), gate()
    left = server.leave.remote(held.wait.remote())
    queued = [server.serve.remote() for _ in range(3)]
    flame.get(held.open.remote())
    assert flame.get(left) is None
    for ref in (*queued, server.serve.remote()):
        with pytest.raises(flame.ActorDiedError, match=r"ended by itself, with flame.exit_actor"):
            flame.get(ref)
    assert flame.state.actors(name="Server") == []


@pytest.mark.parametrize("code", [3, 0, None, "bye"])
@pytest.mark.parametrize("kind", [Server, Coroutines, Server.options(max_concurrency=2)])
def test_sys_exit_in_a_method_ends_the_actor_and_fails_the_call(kind: Any, code: Any) -> None:
    server = kind.remote()
    text = f"ended by itself, with sys.exit({'' if code is None else repr(code)})"
    for ref in (server.exit.remote(code), server.exit.remote(9)):
        with pytest.raises(flame.ActorDiedError) as caught:
            flame.get(ref)
        assert text in str(caught.value)


def test_an_actor_that_wants_to_exit_is_not_restarted_and_its_call_not_repeated() -> None:
    server, held = Server.options(max_restarts=-1, max_task_retries=-1).remote(), gate()
    left = server.exit.remote(3, held.wait.remote())
    queued = [server.serve.remote() for _ in range(3)]
    flame.get(held.open.remote())
    for ref in (left, *queued, server.serve.remote()):
        with pytest.raises(flame.ActorDiedError, match=r"ended by itself, with sys.exit\(3\)"):
            flame.get(ref)
    assert flame.state.actors(name="Server") == []


def test_sys_exit_in_a_constructor_is_an_error_as_in_a_function() -> None:
    @flame.remote
    class Refuses:
        def __init__(self) -> None:
            sys.exit(3)

        def serve(self) -> None:
            pass

    with pytest.raises(flame.TaskError, match="SystemExit: 3"):
        flame.get(Refuses.remote().serve.remote())


def test_sys_exit_in_a_generator_function_ends_no_more_than_its_items() -> None:
    @flame.remote
    def items() -> Iterator[int]:
        yield 1
        sys.exit(3)

    first, last = items.remote()
    assert flame.get(first) == 1
    with pytest.raises(flame.TaskError, match="SystemExit: 3"):
        flame.get(last)


@pytest.mark.parametrize("how", ["exit_actor", "sys.exit"])
def test_a_generator_method_can_end_its_actor(how: str) -> None:
    server = Server.remote()
    items = server.items.remote(how)
    assert flame.get(next(items)) == 1
    with pytest.raises(flame.ActorDiedError, match=f"ended by itself, with .*{how}"):
        flame.get([*items, server.serve.remote()])


def test_a_call_with_several_results_that_ends_its_actor_has_none_for_each() -> None:
    assert flame.get(Server.remote().leave_twice.remote()) == [None, None]


def test_coroutines_beside_it_are_cut_off() -> None:
    server, held = Coroutines.remote(), gate()
    other = server.serve.remote([held.wait.remote()])
    assert flame.get(server.leave.remote()) is None
    with pytest.raises(flame.ActorDiedError, match="ended by itself"):
        flame.get(other)
    flame.kill(held)


@only_embedded
def test_threads_beside_it_end_first() -> None:
    server, held = Server.options(max_concurrency=2).remote(), gate()

    @flame.remote(max_concurrency=2)
    class Pair:
        def leave(self) -> None:
            flame.exit_actor()

        def serve(self, ref: list[Any]) -> Any:
            return flame.get(ref[0])

    pair = Pair.remote()
    other = pair.serve.remote([held.wait.remote()])
    assert flame.get(pair.leave.remote()) is None
    flame.get(held.open.remote())
    assert flame.get(other) == "through"
    del server


@only_embedded
def test_exit_hooks_run(tmp_path: Path) -> None:
    @flame.remote
    class Tidy:
        def leave(self, fifo: str) -> None:
            self.fifo = fifo
            flame.exit_actor()

        def __del__(self) -> None:
            with open(self.fifo, "w") as file:
                file.write("tidied")

    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    tidy = Tidy.remote()
    flame.get(tidy.leave.remote(fifo))
    assert Path(fifo).read_text() == "tidied"


def test_a_name_is_free_after_it() -> None:
    server = Server.options(name="leaves").remote()
    flame.get(server.leave.remote())
    with pytest.raises(flame.ActorNotFoundError):
        flame.get_actor("leaves")


def test_nothing_but_a_method_of_an_actor_can_do_that() -> None:
    @flame.remote
    def leave() -> None:
        flame.exit_actor()

    with pytest.raises(flame.EngineError, match="for the methods of an actor"):
        flame.exit_actor()
    with pytest.raises(flame.EngineError, match="for the methods of an actor"):
        flame.get(leave.remote())
