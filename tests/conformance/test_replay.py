"""Calls that failed, saved and made again; and when calls ran."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import wait_until
from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]

pytestmark = pytest.mark.usefixtures("engine")

ROOT = Path(__file__).resolve().parent.parent.parent


class Odd(Exception):
    """Raised by what is replayed."""


@flame.remote
def share(total: int, parts: list[int], *, minimum: int = 0) -> int:
    if not parts:
        raise Odd(total, minimum)
    return total // len(parts)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Save failed calls in a folder during the test."""
    flame.save_failed_calls(tmp_path / "failed")
    yield tmp_path / "failed"
    flame.save_failed_calls(None)


def only_file(folder: Path) -> Path:
    assert wait_until(lambda: len(list(folder.glob("*.flame"))) == 1)
    (file,) = folder.iterdir()
    return file


def test_a_failed_call_is_made_again_with_its_arguments(folder: Path) -> None:
    total = flame.put(12)
    with pytest.raises(Odd):
        flame.get(share.remote(total, [], minimum=3))
    file = only_file(folder)
    assert file.name.startswith(f"share-{os.getpid()}-")
    with pytest.raises(Odd) as raised:
        flame.replay(file)
    assert type(raised.value) is Odd
    assert raised.value.args == (12, 3)


def test_a_large_argument_is_saved_too(folder: Path) -> None:
    @flame.remote
    def fail(data: bytes) -> None:
        raise ValueError(len(data))

    with pytest.raises(ValueError, match="1000000"):
        flame.get(fail.remote(bytes(1_000_000)))
    with pytest.raises(ValueError, match="1000000"):
        flame.replay(only_file(folder))


def test_a_method_is_called_on_an_instance_made_anew(folder: Path) -> None:
    @flame.remote
    class Account:
        def __init__(self, start: int) -> None:
            self.balance = start

        def take(self, amount: int) -> None:
            self.balance -= amount
            raise ValueError(self.balance)

    account = Account.remote(10)
    with pytest.raises(ValueError, match="7"):
        flame.get(account.take.remote(3))
    with pytest.raises(ValueError, match="7"):
        flame.replay(only_file(folder))


def test_what_is_cancelled_or_lacks_an_argument_is_not_saved(folder: Path) -> None:
    @flame.remote
    def identity(x: Any) -> Any:
        return x

    failed = share.remote(1, [])
    with pytest.raises(Odd):
        flame.get(identity.remote(failed))
    assert only_file(folder).name.startswith("share-")


@only_embedded
def test_a_call_whose_process_died_is_saved(folder: Path) -> None:
    @flame.remote(max_retries=0)
    def crash(how: int) -> int:
        if os.getpid() != how:
            os._exit(3)
        return how

    with pytest.raises(flame.WorkerCrashedError):
        flame.get(crash.remote(os.getpid()))
    assert flame.replay(only_file(folder)) == os.getpid()


def test_a_call_with_refs_inside_says_that_it_cannot_be_replayed(folder: Path) -> None:
    @flame.remote
    def fail(refs: list[Any]) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        flame.get(fail.remote([flame.put(1)]))
    with pytest.raises(flame.ReplayError, match=r"fail\(\) has refs inside its arguments"):
        flame.replay(only_file(folder))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(flame.ReplayError, match="text cannot be replayed: it is no call"):
        flame.replay(tmp_path / "text")


def test_the_command_replays_in_a_process_of_its_own(folder: Path, engine: str) -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match="from afar"):
        flame.get(flame.remote(fail).remote("from afar"))
    command = [sys.executable, "-m", "flame_remote", "replay", str(only_file(folder))]
    ended = subprocess.run(
        [*command, "--pdb"],
        input="p text\nq\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert ended.returncode == 1
    assert "'from afar'" in ended.stdout
    assert "ValueError: from afar" in ended.stderr
    assert "raise ValueError(text)" in ended.stderr


# --- timeline -------------------------------------------------------------------------------------


def test_without_being_asked_nothing_is_noted(tmp_path: Path) -> None:
    with pytest.raises(flame.EngineError, match=r"start with flame.init\(timeline=True\)"):
        flame.timeline(tmp_path / "trace.json")
