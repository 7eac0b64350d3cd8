"""The engines of this machine, for what a cluster cannot know: one after the other per file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

import flame_remote as flame

from ..conftest import leaving_nothing_behind

only_embedded: Final = pytest.mark.parametrize("engine", ["embedded"], indirect=True)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """As everywhere, but after the last test of a file: its tests share the engines."""
    yield from leaving_nothing_behind()


@pytest.fixture(scope="module", params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest, nothing_is_left_behind: None) -> Iterator[str]:
    """Run the tests on an engine of this machine with two CPUs and one license; its name."""
    name: str = request.param
    if flame.is_initialized():  # the one on Flame, of other files
        flame.shutdown()
    with flame.init(engine=name, num_cpus=2, resources={"license": 1}):
        yield name
