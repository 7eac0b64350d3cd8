"""Processes of a cluster that die. A real Flame says `transport error` of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("session")


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote(max_retries=1)
def crash_once(path: str) -> int:
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) < 2:
        os._exit(3)
    return os.path.getsize(path)


@flame.remote(max_retries=0)
def crash() -> None:
    os._exit(3)


@flame.remote
class Fragile:
    def pid(self) -> int:
        return os.getpid()

    def crash(self) -> None:
        os._exit(4)


def test_a_call_whose_process_died_is_run_again(tmp_path: Path) -> None:
    assert flame.get(crash_once.remote(str(tmp_path / "runs"))) == 2


def test_a_call_without_a_retry_fails_and_says_how_its_process_ended() -> None:
    with pytest.raises(
        flame.WorkerCrashedError, match=r"crash\(\).*(exit code 3|transport error)"
    ) as caught:
        flame.get(crash.remote())
    assert caught.value.attempts == 1
    assert flame.get(identity.remote(1)) == 1


def test_an_actor_dies_with_its_process_and_others_go_on() -> None:
    victim, other = Fragile.remote(), Fragile.remote()
    flame.get([victim.pid.remote(), other.pid.remote()])
    with pytest.raises(flame.ActorDiedError, match=r"Fragile.*(exit code 4|transport error)"):
        flame.get(victim.crash.remote())
    with pytest.raises(flame.ActorDiedError):
        flame.get(victim.pid.remote())
    assert flame.get(other.pid.remote()) != os.getpid()
