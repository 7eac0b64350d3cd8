"""When calls ran, and which lines made refs: noted only where it was asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote
def outer(x: Any) -> Any:
    return flame.get(identity.remote(x))


@flame.remote
class Counter:
    def add(self) -> int:
        return 1

    async def wait(self) -> int:
        return 2


@flame.remote(max_concurrency=2)
class Threaded:
    def add(self) -> int:
        return 3


@pytest.mark.parametrize("engine", ["inline", "embedded"])
def test_every_call_is_in_the_file_with_its_place_and_time(tmp_path: Path, engine: str) -> None:
    with flame.init(engine, num_cpus=2, timeline=True):
        counter, threaded = Counter.remote(), Threaded.remote()
        refs = [outer.remote(1), *(identity.remote(n) for n in range(10))]
        flame.get([*refs, counter.add.remote(), counter.wait.remote(), threaded.add.remote()])
        number = flame.timeline(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    calls = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(calls) == number == 17
    names = {event["name"] for event in calls}
    assert {"outer", "identity", "Counter", "Counter.add", "Counter.wait"} <= names
    assert {"Threaded", "Threaded.add"} <= names
    assert all(event["ts"] >= 0 and event["dur"] >= 0 for event in calls)
    (around,) = [event for event in calls if event["name"] == "outer"]
    (inside,) = [e for e in calls if e["args"].get("parent") == around["args"]["task"]]
    assert around["ts"] <= inside["ts"]
    assert inside["ts"] + inside["dur"] <= around["ts"] + around["dur"]
    pids = {event["pid"] for event in calls}
    named = {event["pid"] for event in trace["traceEvents"] if event["ph"] == "M"}
    assert named == pids
    assert (os.getpid() in pids) == (engine == "inline")
    assert trace["otherData"] == {"calls_left_out": 0}


def test_a_wrong_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="timeline must be True or False"):
        flame.init(timeline="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["inline", "embedded"])
def test_the_lines_that_made_refs_are_shown_if_asked_for(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_CREATION_SITES", "1")

    @flame.remote
    def puts() -> list[Any]:
        return [flame.put("in a task")]

    with flame.init(engine, num_cpus=2):
        ref = identity.remote(1)
        put = flame.put("here")
        inner = flame.get(puts.remote())
        sites = {info.id: info.made_at for info in flame.state.objects()}
    lines = Path(__file__).read_text().splitlines()
    for made, text in ((ref, "identity.remote(1)"), (put, '"here"'), (inner[0], '"in a task"')):
        number = repr(made).partition("#")[2].split(" ")[0].rstrip(">")
        file, _, line = sites[f"#{number}"].rpartition(":")
        assert file == __file__
        assert text in lines[int(line) - 1]
