"""Texts about user objects: bounded, and safe whatever the object's own methods do."""

from __future__ import annotations

from typing import Any, TypeVar, cast

_Text = TypeVar("_Text", bound="str | bytes")


def shorten(text: _Text, limit: int) -> _Text:
    """Return `text` with its middle left out if it is longer than `limit`, and a mark there."""
    if len(text) <= limit:
        return text
    half = limit // 2
    mark: Any = f"... [{len(text) - 2 * half} left out] ..."
    if isinstance(text, bytes):
        mark = mark.encode()
    return cast(_Text, text[:half] + mark + text[-half:])


def type_name(cls: type) -> str:
    """Return a class's name as tracebacks show it: with its module, unless that is obvious."""
    module, name = cls.__module__, cls.__qualname__
    if not isinstance(module, str) or module in ("builtins", "__main__"):
        return name
    return f"{module}.{name}"


def message_of(error: BaseException, limit: int) -> str:
    """Return `str(error)`, bounded; a remark if that raises."""
    try:
        return shorten(str(error), limit)
    except BaseException as failure:
        return f"<its __str__ raised {type_name(type(failure))}>"
