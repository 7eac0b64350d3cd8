"""What users give where refs belong: the refs in it, or an error that tells what came instead."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from flame_remote._refs import ObjectRef
from flame_remote.exceptions import RefMisuseError


def unproxied(value: Any) -> Any:
    """Return the ref behind a lazy proxy, anything else as it is."""
    # Where the module is not loaded, no proxy was ever made.
    proxies = sys.modules.get("flame_remote._proxy")
    return value if proxies is None else proxies.ref_behind(value)


def listed_refs(refs: Any, verb: str) -> list[Any]:
    """Turn an iterable into a list; refuse what cannot be an iterable of refs."""
    if type(unproxied(refs)) is ObjectRef:
        raise RefMisuseError(f"{verb}() takes a list of refs: use {verb}([ref])")
    if isinstance(refs, (str, bytes)) or not isinstance(refs, Iterable):
        raise RefMisuseError(f"{verb}() takes ObjectRefs, not {_told(refs)}")
    return list(refs)


def checked_refs(refs: list[Any], verb: str) -> list[ObjectRef[Any]]:
    """Return the refs, proxies turned into theirs; raise for the first that is none."""
    refs_there: list[ObjectRef[Any]] = []
    for place, value in enumerate(refs):
        ref = unproxied(value)
        if type(ref) is not ObjectRef:
            was = "not" if len(refs) == 1 else f"but item {place} is"
            raise RefMisuseError(f"{verb}() takes ObjectRefs, {was} {_told(value)}")
        refs_there.append(ref)
    return refs_there


def _told(value: Any) -> str:
    """Say what came instead of a ref, and what was probably forgotten."""
    # A remote function, a handle: these know themselves what to do instead.
    told: str | None = getattr(type(value), "_flame_instead_of_ref", None)
    if told is not None:
        return told.format(name=getattr(value, "__name__", ""))
    return f"{shown(value)}; did you call square(3) instead of square.remote(3)?"


def shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # the user's own __repr__
        text = "..."
    kind = type(value).__name__
    return f"{kind} {text if len(text) <= 60 else text[:57] + '...'}"
