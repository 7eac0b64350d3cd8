"""The names of `flame_remote.core`."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from flame_remote import core


def test_every_public_name_exists_and_is_listed() -> None:
    assert len(core.__all__) == len(set(core.__all__))
    assert set(core.__all__) <= set(dir(core))
    for name in core.__all__:
        assert getattr(core, name) is not None


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'create_sesion'"):
        core.create_sesion  # noqa: B018


def public_calls() -> list[Any]:
    """List the public functions, and the public methods of what people hold."""
    calls = [getattr(core, name) for name in core.__all__]
    held: list[Any] = [core.Session, core.Connection, core.FlameContext]
    methods = [
        getattr(kind, name)
        for kind in held
        for name, _ in inspect.getmembers(kind, callable)
        if not name.startswith("_")
    ]
    return [call for call in calls + methods if inspect.isroutine(call)]


@pytest.mark.parametrize("call", public_calls(), ids=lambda call: call.__qualname__)
def test_calls_say_what_they_are_and_document_their_arguments(call: Any) -> None:
    doc = inspect.getdoc(call)
    assert doc
    if "Args:" not in doc:
        return  # one that says it all in a sentence
    for name in inspect.signature(call).parameters:
        assert name == "self" or re.search(rf"^    {name}: ", doc, re.MULTILINE), name
