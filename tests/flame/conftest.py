"""A session on a cluster for each test, with our own workers and with stock flamepy's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flame_remote as flame
from flame_remote import _current
from flame_remote._flame.engine import FlameEngine
from flame_remote.core.context import FlameContext
from flame_remote.core.objects import count_objects

from ..clusters import Cluster
from ..conftest import leaving_nothing_behind, wait_until


class Keys:
    """Counts the objects that a program has in the cache."""

    def __init__(self, cluster: Cluster, application: str) -> None:
        self._context = FlameContext.load(cluster.endpoint, cluster.cache_endpoint)
        self._applications = application, f"{application}-actors"

    def count(self) -> int:
        """Return how many there are now."""
        prefixes = [f"{name}/*" for name in self._applications]
        return sum(count_objects(prefix, context=self._context).keys for prefix in prefixes)

    def become(self, number: int) -> bool:
        """Wait until there are so many; say whether that was ever so."""
        return wait_until(lambda: self.count() == number)


@pytest.fixture(scope="session", params=["our workers", "stock workers"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Run the test on a cluster of each kind."""
    name = "flame_cluster" if request.param == "our workers" else "stock_cluster"
    return request.getfixturevalue(name)


@pytest.fixture(scope="module")
def session(cluster: Cluster) -> Iterator[flame.Session]:
    """Run the tests of a file in one session on the cluster, which leaves nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAME_CACHE_ENDPOINT", cluster.cache_endpoint)
        left_behind = leaving_nothing_behind()
        next(left_behind)
        with flame.init(cluster.engine) as session:
            yield session
        next(left_behind, None)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """As everywhere, but for tests that share a session: they leave it behind."""
    if "session" in request.fixturenames:
        yield
    else:
        yield from leaving_nothing_behind()


@pytest.fixture
def engine(session: flame.Session) -> FlameEngine:
    """Return the engine of the session."""
    engine = _current.engine
    assert isinstance(engine, FlameEngine)
    return engine


@pytest.fixture
def keys(cluster: Cluster, engine: FlameEngine) -> Keys:
    """Count the keys of the session."""
    return Keys(cluster, engine.program.application)
