"""Ray's `ray.util.multiprocessing`: a Pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import flame_remote as flame
from flame_remote import multiprocessing as _pools

AsyncResult = _pools.AsyncResult
TimeoutError = _pools.PoolTimeoutError

__all__ = ["AsyncResult", "Pool", "TimeoutError"]


class Pool(_pools.Pool):
    """As multiprocessing.Pool, on flame's workers."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: object = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        """Start nothing yet: the first call does.

        Args:
            processes: how many calls run at the same time; at most as many as there are CPUs.
            initializer: called once in each worker before its first call.
            initargs: the arguments of `initializer`.
            maxtasksperchild: must be None.
            context: has no effect.
            ray_address: None, or the address of a Flame cluster.
            ray_remote_args: must be empty: calls take one CPU.

        Raises:
            ValueError: an argument cannot be had here.
        """
        if ray_remote_args:
            raise ValueError(f"Pool() cannot have ray_remote_args={ray_remote_args!r}")
        if ray_address is not None and not flame.is_initialized():
            from .._starting import init

            init(ray_address)
        super().__init__(processes, initializer, tuple(initargs or ()), maxtasksperchild, context)
