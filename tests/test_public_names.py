"""The names that users see."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import flame_remote as flame
from flame_remote import exceptions, runner

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"

VERBS = [
    "cancel",
    "exit_actor",
    "free",
    "get",
    "get_actor",
    "init",
    "is_initialized",
    "kill",
    "put",
    "remote",
    "shutdown",
    "wait",
]
KNOWING = [
    "context",
    "explain",
    "get_gpu_ids",
    "replay",
    "save_failed_calls",
    "scope",
    "state",
    "timeline",
]


def test_public_names_are_exactly_these() -> None:
    errors = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, flame.FlameError)
    }
    others = {"Actor", "ActorClass", "ActorHandle", "ObjectFuture", "ObjectRef", "RemoteFunction"}
    more = {"ActorPool", "AsCompleted", "Executor", "Queue", "Session", "as_completed", "method"}
    more |= {*KNOWING, "Cache", "Context", "ObjectRefGenerator", "Retry", "Scope", "WeakRef"}
    more |= {"progress", "Event", "Lock", "Semaphore"}
    assert set(flame.__all__) == {*VERBS, *more, *others, *errors}
    assert flame.__all__ == sorted(flame.__all__)


def test_every_public_name_exists_and_nothing_else_looks_public() -> None:
    for name in flame.__all__:
        assert hasattr(flame, name)
    public = {
        name
        for name, value in vars(flame).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public - {"annotations"} == set(flame.__all__) - {"state"}  # which is a module


def test_object_future_is_another_name_of_object_ref() -> None:
    assert flame.ObjectFuture is flame.ObjectRef
    assert runner.ObjectFuture is flame.ObjectRef


def test_no_public_class_is_called_runner_service() -> None:
    assert not any("RunnerService" in dir(module) for module in (flame, runner))


def test_the_version_is_that_of_the_project() -> None:
    found = re.search(r'^version = "(.*)"$', PYPROJECT.read_text(), re.MULTILINE)
    assert found is not None
    assert flame.__version__ == found[1]


def test_the_package_docstring_names_every_verb() -> None:
    assert flame.__doc__ is not None
    for name in [*VERBS, *KNOWING, "Actor", "method", "ObjectRef", "FlameError", "TaskError"]:
        assert name in flame.__doc__


@pytest.mark.parametrize("name", [*VERBS, *sorted({*KNOWING} - {"state", "context"})])
def test_verbs_document_their_arguments_results_and_errors(name: str) -> None:
    verb = getattr(flame, name)
    doc = inspect.getdoc(verb)
    assert doc is not None
    parameters = [p.name for p in inspect.signature(verb).parameters.values()]
    for parameter in parameters:
        assert parameter == "unknown" or re.search(rf"^    {parameter}: ", doc, re.MULTILINE), doc
    assert not parameters or "Raises:" in doc


def test_all_errors_pickle_with_their_fields() -> None:
    import pickle

    for name in flame.__all__:
        error_type = getattr(flame, name)
        if isinstance(error_type, type) and issubclass(error_type, flame.FlameError):
            # Strings will do for every field: only their names and order are of interest.
            init = inspect.signature(error_type.__init__)
            count = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in init.parameters.values()) - 1
            error = error_type(*[f"field {i}" for i in range(max(count, 0))])
            again = pickle.loads(pickle.dumps(error))
            assert type(again) is error_type
            assert again.args == error.args
            assert vars(again) == vars(error)
