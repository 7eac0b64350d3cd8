"""Ray's `ray.util.joblib`: `register_ray()` makes "ray" a backend of joblib."""

from __future__ import annotations


def register_ray() -> None:
    """Make `joblib.parallel_config(backend="ray")` run on flame.

    Raises:
        ImportError: joblib is not installed.
    """
    from importlib import import_module

    from flame_remote.joblib import FlameBackend

    import_module("joblib").register_parallel_backend("ray", FlameBackend)
