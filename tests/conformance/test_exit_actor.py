"""Actors that end themselves."""

from __future__ import annotations

import asyncio
import os
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


@flame.remote
class Coroutines:
    """The same with coroutines."""

    async def leave(self) -> int:
        await asyncio.sleep(0)
        flame.exit_actor()

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
