"""Ray's names on the engines of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flame_remote.compat.ray as ray


@pytest.fixture(params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test on an engine with two CPUs; its name."""
    name: str = request.param
    monkeypatch.setenv("FLAME_ENGINE", name)
    ray.init(num_cpus=2)
    yield name
    ray.shutdown()
