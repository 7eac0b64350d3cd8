"""An owner is a process, not a number."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from flame_remote._server.owners import OwnerWatch, is_alive, owner_in, start_time_of


def test_the_label_names_the_owner() -> None:
    assert owner_in(["a", "flame-remote.owner=12:34"]) == "12:34"
    assert owner_in(["a", "runner.flame-remote.owner=12:34"]) == "12:34"
    assert owner_in(["a"]) == ""


def test_a_process_is_alive_under_its_own_start_time_only() -> None:
    started = start_time_of(os.getpid())
    assert started is not None
    assert is_alive(os.getpid(), started)
    assert not is_alive(os.getpid(), str(int(started) + 1))


def test_the_end_of_an_owner_is_heard_of_for_each_of_its_applications() -> None:
    async def watch() -> list[tuple[str, str]]:
        gone: list[tuple[str, str]] = []
        heard = asyncio.Event()

        def on_gone(application: str, owner: str) -> None:
            gone.append((application, owner))
            if len(gone) == 2:
                heard.set()

        watch = OwnerWatch(on_gone)
        process = subprocess.Popen(["sleep", "60"])
        owner = f"{process.pid}:{start_time_of(process.pid)}"
        watch.watch("a", owner)
        watch.watch("b", owner)
        process.kill()
        await asyncio.wait_for(heard.wait(), 10)
        process.wait()
        watch.close()
        assert gone == [("a", owner), ("b", owner)]
        return gone

    asyncio.run(watch())


@pytest.mark.parametrize("owner", ["999999999:1", "1:1", "nonsense"])
def test_an_owner_that_is_gone_already_is_told_soon(owner: str) -> None:
    async def watch() -> None:
        heard = asyncio.Event()
        watch = OwnerWatch(lambda *_: heard.set())
        watch.watch("a", owner)
        await asyncio.wait_for(heard.wait(), 10)
        watch.close()

    asyncio.run(watch())
