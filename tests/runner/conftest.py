"""One engine after the other under the same tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flame_remote as flame
from flame_remote.runner import Runner


@pytest.fixture(params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on an engine with two CPUs; its name."""
    name: str = request.param
    flame.init(engine=name, num_cpus=2)
    yield name
    flame.shutdown()


@pytest.fixture
def embedded() -> Iterator[None]:
    """Run the test on the embedded engine."""
    flame.init(engine="embedded", num_cpus=2)
    yield
    flame.shutdown()


@pytest.fixture
def runner(engine: str) -> Iterator[Runner]:
    """A Runner on one engine after the other."""
    with Runner("test") as runner:
        yield runner


@pytest.fixture
def inline() -> Iterator[Runner]:
    """A Runner on the inline engine, for what no engine has a part in."""
    with flame.init(engine="inline", num_cpus=2), Runner("test") as runner:
        yield runner
