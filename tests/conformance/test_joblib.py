"""The joblib backend "flame"; joblib's own tests of it are in tests/foreign."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

import flame_remote as flame

joblib = pytest.importorskip("joblib", reason="joblib is not installed")

import flame_remote.joblib  # noqa: E402

from .local_engines import engine, nothing_is_left_behind, only_embedded  # noqa: E402, F401

delayed = joblib.delayed


@pytest.fixture(autouse=True)
def backend(engine: str) -> Iterator[None]:  # noqa: F811
    with joblib.parallel_config(backend="flame"):
        yield


def double(x: int) -> int:
    return x * 2


def address(array: Any) -> tuple[int, float]:
    """Return where an array of a task lies in the store, and its sum."""
    return os.getpid(), float(array.sum())


def doubled_inside(n: int) -> int:
    return sum(joblib.Parallel(n_jobs=2)(delayed(double)(i) for i in range(n)))


def refuse(x: int) -> int:
    raise ValueError(f"{x} is refused")


class Unsendable:
    def __reduce__(self) -> Any:
        raise TypeError("stays here")


def test_parallel_returns_all_results_in_order() -> None:
    calls = (delayed(double)(n) for n in range(500))
    assert joblib.Parallel(n_jobs=2)(calls) == [2 * n for n in range(500)]
    closure = 3
    assert joblib.Parallel(n_jobs=2)(delayed(lambda x: x + closure)(n) for n in range(3)) == [
        3,
        4,
        5,
    ]


def test_without_a_number_of_jobs_there_are_as_many_as_cpus() -> None:
    assert joblib.effective_n_jobs() == joblib.effective_n_jobs(-1)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        joblib.Parallel(n_jobs=0)(delayed(double)(n) for n in range(3))


@pytest.mark.parametrize("kind", ["generator", "generator_unordered"])
def test_results_can_be_a_generator(kind: str) -> None:
    results = joblib.Parallel(n_jobs=2, return_as=kind)(delayed(double)(n) for n in range(50))
    assert sorted(results) == [2 * n for n in range(50)]


def test_a_parallel_inside_a_job_ends_too() -> None:
    sums = joblib.Parallel(n_jobs=2)(delayed(doubled_inside)(n) for n in range(6))
    assert sums == [n * (n - 1) for n in range(6)]


def test_an_error_of_a_call_ends_all_and_the_backend_goes_on() -> None:
    with joblib.Parallel(n_jobs=2) as parallel:
        with pytest.raises(ValueError, match="is refused"):
            parallel(delayed(refuse)(n) for n in range(50))
        assert parallel(delayed(double)(n) for n in range(5)) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("kind", ["list", "generator"])
def test_an_argument_that_cannot_travel_is_an_error(kind: str) -> None:
    with pytest.raises(flame.SerializationError):
        list(joblib.Parallel(n_jobs=2, return_as=kind)([delayed(double)(Unsendable())]))


@only_embedded
def test_a_job_that_takes_too_long_is_a_timeout_and_is_cancelled() -> None:
    from joblib.parallel import TimeoutError as JoblibTimeoutError

    with pytest.raises(JoblibTimeoutError):
        joblib.Parallel(n_jobs=2, timeout=0.05)(delayed(time.sleep)(60) for _ in range(4))
    assert joblib.Parallel(n_jobs=2)(delayed(double)(n) for n in range(3)) == [0, 2, 4]


@only_embedded
def test_a_large_array_is_stored_once_for_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    from flame_remote import _shared_arguments

    stored = []

    def put(value: Any) -> Any:
        stored.append(value.shape)
        return flame.put(value)

    monkeypatch.setattr(_shared_arguments, "put", put)
    array = numpy.ones(300_000)
    calls = (delayed(address)(array=array) for _ in range(20))
    assert {total for _, total in joblib.Parallel(n_jobs=2)(calls)} == {300_000.0}
    small = joblib.Parallel(n_jobs=2)(delayed(address)(array[:10]) for _ in range(3))
    assert {total for _, total in small} == {10.0}
    assert stored == [(300_000,)]


def test_an_option_that_the_backend_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="has no option 'idle_worker_timeout'"):
        joblib.Parallel(n_jobs=2, idle_worker_timeout=3)(delayed(double)(n) for n in range(3))


@only_embedded
def test_scikit_learn_finds_the_same_with_it() -> None:
    model_selection = pytest.importorskip(
        "sklearn.model_selection", reason="scikit-learn is not installed"
    )
    import numpy
    from sklearn.linear_model import Ridge

    draw = numpy.random.default_rng(0)
    x = draw.standard_normal((200, 5))
    y = x @ draw.standard_normal(5)
    found = [
        model_selection.GridSearchCV(Ridge(), {"alpha": [0.1, 1, 10]}, cv=3, n_jobs=n).fit(x, y)
        for n in (1, 2)
    ]
    assert found[0].best_params_ == found[1].best_params_
    assert numpy.allclose(*(each.cv_results_["mean_test_score"] for each in found))
