"""One engine after the other under the same tests, which use the public API only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flame_remote as flame


@pytest.fixture(params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on an engine with two CPUs; its name."""
    name: str = request.param
    flame.init(engine=name, num_cpus=2)
    yield name
    flame.shutdown()
