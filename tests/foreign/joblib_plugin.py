"""A pytest plugin that puts the backend "flame" among those that joblib's own tests go through."""

from __future__ import annotations

from typing import Any, Final

import pytest

import flame_remote.joblib  # noqa: F401  registers the backend

# Tests that say of a backend what is not so here, and why. A name with an id in brackets is that
# one case.
DIFFERENT: Final = {
    "test_nested_backend_context_manager": "a Parallel inside a job gets workers, not threads",
    "test_nested_parallelism_limit": "a Parallel inside a job gets workers, not threads",
    "test_nested_backend_in_sequential[parallel_config-flame-None]": "default_n_jobs is -1",
    "test_nested_backend_in_sequential[parallel_backend-flame-None]": "default_n_jobs is -1",
    "test_error_capture": "looks at the pool inside the backend; SystemExit and KeyboardInterrupt "
    "of a task are a TaskError, as everywhere in flame",
    "test_dispatch_multiprocessing": "uses a multiprocessing.Manager, whose key only children of "
    "the program know",
    "test_initializer_context": "uses a multiprocessing.Manager",
    "test_initializer_parallel": "uses a multiprocessing.Manager",
    "test_parallel_with_interactively_defined_functions": "a script that imports joblib only",
    "test_parallel_with_unpicklable_functions_in_args": "a script that imports joblib only",
    "test_auto_memmap_on_arrays_from_generator": "arrays are shared without files",
    "test_memmapping_leaks": "arrays are shared without files",
    "test_parallel_unordered_generator_returns_fastest_first[flame-4]": "wants equally quick calls "
    "back in their order, which depends on how many CPUs are free",
}
# Tests of flame inside or beside these run theirs; one of them starts Python anew for each.
OTHERS: Final = {"loky", "multiprocessing", "back_compat_backend"}


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Add the backend wherever the other backends with processes stand in a list."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        values = mark.args[1]
        if (
            isinstance(values, list)
            and "flame" not in values
            and OTHERS.intersection(value for value in values if isinstance(value, str))
        ):
            values.append("flame")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that go through the backend and say what is so here too."""
    chosen = [item for item in items if _uses_flame(item) and _says_what_is_so(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def _uses_flame(item: pytest.Item) -> bool:
    values: list[Any] = (
        list(getattr(item, "callspec", item).params.values()) if hasattr(item, "callspec") else []
    )
    return not OTHERS.intersection(v for v in values if isinstance(v, str)) and any(
        value == "flame" or type(value).__name__ == "FlameBackend" for value in values
    )


def _says_what_is_so(item: pytest.Item) -> bool:
    return item.name not in DIFFERENT and item.name.partition("[")[0] not in DIFFERENT
