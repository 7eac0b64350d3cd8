"""Each task and actor sees its own GPUs. The machine need not have any: it is a variable."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import flame_remote as flame

from ..conftest import leaving_nothing_behind
from .local_engines import only_embedded

SEEN = "CUDA_VISIBLE_DEVICES"


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield from leaving_nothing_behind()


@pytest.fixture(scope="module", params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest, nothing_is_left_behind: None) -> Iterator[str]:
    """Run the tests on an engine with two CPUs and the GPUs 5 and 7."""
    if flame.is_initialized():  # the one on Flame, of other files
        flame.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SEEN, "5,7")
        with flame.init(engine=request.param, num_cpus=2):
            yield request.param


@flame.remote(num_cpus=0, num_gpus=1)
def look() -> tuple[str | None, list[int | str], int]:
    return os.environ.get(SEEN), flame.get_gpu_ids(), os.getpid()


@flame.remote
class Looker:
    def look(self) -> tuple[str | None, list[int | str], int]:
        return os.environ.get(SEEN), flame.get_gpu_ids(), os.getpid()


def test_the_engine_finds_the_gpus_that_the_program_sees(engine: str) -> None:
    assert flame.get_gpu_ids() == [5, 7]
    with pytest.raises(flame.UnschedulableError, match=r"num_gpus=3 but this engine has 2"):
        look.options(num_gpus=3).remote()


@only_embedded
def test_a_task_sees_as_many_as_it_asks_for_and_nobody_else_does(engine: str) -> None:
    both = Looker.options(num_gpus=1).remote(), Looker.options(num_gpus=1).remote()
    seen = flame.get([looker.look.remote() for looker in both])
    assert {one for one, _, _ in seen} == {"5", "7"}
    assert sorted(ids for _, ids, _ in seen) == [[5], [7]]
    del both
    assert flame.get(look.options(num_gpus=2).remote())[:2] == ("5,7", [5, 7])


@only_embedded
def test_tasks_that_ask_for_a_part_share_one(engine: str) -> None:
    part = Looker.options(num_gpus=0.5)
    lookers = [part.remote(), part.remote()]
    seen = flame.get([looker.look.remote() for looker in lookers])
    assert {one for one, _, _ in seen} == {"5"}
    assert len({pid for _, _, pid in seen}) == 2
    assert flame.get(look.remote())[0] == "7"


@only_embedded
def test_who_waits_for_a_whole_one_is_told_that_there_are_parts(engine: str) -> None:
    parts = [Looker.options(num_gpus=0.6).remote() for _ in range(2)]
    assert len({flame.get(part.look.remote())[0] for part in parts}) == 2
    ref = look.options(num_gpus=0.7).remote()
    text = flame.explain(ref)
    assert "waits for 0.7 GPU: what is free is in parts; Looker" in text
    del parts
    assert flame.get(ref)


@only_embedded
def test_a_process_that_has_seen_gpus_serves_those_that_see_the_same(engine: str) -> None:
    first, again = flame.get(look.remote()), flame.get(look.remote())
    assert first == again
    plain = flame.get(look.options(num_gpus=0).remote())
    assert plain[:2] == ("5,7", [])  # as in the main program, and none of them its own
    assert plain[2] != first[2]


@only_embedded
def test_a_nested_task_gets_gpus_of_its_own(engine: str) -> None:
    @flame.remote(num_gpus=1)
    def parent() -> tuple[str | None, str | None]:
        return os.environ.get(SEEN), flame.get(look.remote())[0]

    assert sorted(map(str, flame.get(parent.remote()))) == ["5", "7"]


def test_the_same_program_runs_inline_where_all_are_seen(engine: str) -> None:
    seen, ids, _ = flame.get(look.remote())
    assert (seen, ids) == (("5,7", [5, 7]) if engine == "inline" else (str(ids[0]), ids))


def test_parts_of_several_gpus_are_refused(engine: str) -> None:
    with pytest.raises(flame.InvalidOptionError, match="num_gpus must be a whole number, or less"):
        look.options(num_gpus=1.5)
