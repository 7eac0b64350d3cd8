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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests on Flame last: they share one engine, as its start takes a second."""
    items.sort(key=_is_on_flame)


def _is_on_flame(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    return parameters is not None and parameters.params.get("engine") == FLAME


@pytest.fixture(scope="session")
def shared_engine(flame_cluster: Cluster) -> Iterator[str]:
    """Name the engine that tests on Flame share, and end it after the last of them."""
    yield flame_cluster.engine
    shared_engine_runs.clear()
    flame.shutdown()


@pytest.fixture(params=["inline", "embedded", FLAME])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test on an engine with two CPUs; its name."""
    name: str = request.param
    if name == FLAME:
        if reason := why_not(request.node.originalname):
            pytest.skip(reason)
        cluster: Cluster = request.getfixturevalue("flame_cluster")
        shared: str = request.getfixturevalue("shared_engine")
        monkeypatch.setenv("FLAME_CACHE_ENDPOINT", cluster.cache_endpoint)
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
    """As everywhere, but for the engine on Flame: it goes on, and tests/flame looks at its end."""
    if _is_on_flame(request.node):
        yield
    else:
        yield from leaving_nothing_behind()
