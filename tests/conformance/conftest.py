"""One engine after the other under the same tests, which use the public API only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

import flame_remote as flame

from ..clusters import Cluster
from ..conftest import leaving_nothing_behind, shared_engine_runs
from .on_flame import why_not

FLAME: Final = "flame"
ENGINES: Final = ["inline", "embedded", FLAME]
ENGINE_FIXTURES: Final = ["engine", "engine_of_file"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests on Flame last: they share one engine, as its start takes a second."""
    items.sort(key=_is_on_flame)


def _is_on_flame(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    return parameters is not None and FLAME in map(parameters.params.get, ENGINE_FIXTURES)


@pytest.fixture(scope="session")
def shared_engine(flame_cluster: Cluster) -> Iterator[str]:
    """Name the engine that tests on Flame share, and end it after the last of them."""
    yield flame_cluster.engine
    shared_engine_runs.clear()
    flame.shutdown()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on an engine with two CPUs; its name."""
    if request.param == FLAME and (reason := why_not(request.node.originalname)):
        pytest.skip(reason)
    yield from _running(request)


@pytest.fixture(scope="module", params=ENGINES)
def engine_of_file(request: pytest.FixtureRequest) -> Iterator[str]:
    """As `engine`, for tests that leave no trace on it: those of a file share one of each kind."""
    if request.param == FLAME:
        yield from _running(request)
        return
    leaks = leaving_nothing_behind()
    next(leaks)
    yield from _running(request)
    next(leaks, None)


def _running(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have the engine run that a fixture's parameter names; give its name."""
    name: str = request.param
    if name == FLAME:
        cluster: Cluster = request.getfixturevalue("flame_cluster")
        shared: str = request.getfixturevalue("shared_engine")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FLAME_CACHE_ENDPOINT", cluster.cache_endpoint)
            if not flame.is_initialized():
                flame.init(shared)
                shared_engine_runs.append(shared)
            yield shared
        return
    flame.init(engine=name, num_cpus=2)
    yield name
    flame.shutdown()


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """As everywhere, but where an engine goes on: its own end is looked at, for Flame in
    tests/flame.
    """
    if _is_on_flame(request.node) or "engine_of_file" in request.fixturenames:
        yield
    else:
        yield from leaving_nothing_behind()
