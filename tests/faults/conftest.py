"""An engine to break things in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flame_remote as flame


@pytest.fixture
def engine() -> Iterator[None]:
    """Run the test on the embedded engine, with two CPUs."""
    flame.init(engine="embedded", num_cpus=2)
    yield
    flame.shutdown()
