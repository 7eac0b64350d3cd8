"""What several conformance tests need."""

from __future__ import annotations

import asyncio
from typing import Any

import flame_remote as flame


def gate() -> Any:
    """Return the handle of an actor whose `wait` ends when its `open` is called.

    Its `wait`, and what takes the result of it, is pending for as long as a test wants.
    """

    @flame.remote
    class Gate:
        def __init__(self) -> None:
            self._opened = asyncio.Event()

        async def wait(self, value: Any = "through") -> Any:
            await self._opened.wait()
            return value

        async def open(self) -> None:
            self._opened.set()

    return Gate.remote()
