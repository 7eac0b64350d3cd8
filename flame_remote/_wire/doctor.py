"""Finds out what inside a value keeps it from being sent, and says so in words of the user's code.

Descends from the value to the part that cannot be pickled by trying the parts one by one. Bounded
in depth and time; nothing that a user's object does makes it raise.
"""

from __future__ import annotations

import functools
import sys
import time
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from flame_remote._refs import collecting_refs

from .culprits import advice_for, name_of

_LEVELS: Final = 50
_SECONDS: Final = 2.0  # an error is being reported: late is worse than vague
_SHOWN: Final = 40  # characters of a dict's key
_NOT_THE_USERS: Final = ("flame_remote", "cloudpickle")
_TRAVELS_AS_IT_IS: Final = (int, float, complex, bool, str, bytes, type(None))


def diagnose(value: object, error: BaseException) -> str:
    """Say why `value` could not be pickled, as the rest of a sentence that begins with its name.

    For example `contains a thread lock at ['cfg'].client, which cannot be sent to another process;
    create it inside the task, or keep it in an actor`. `error` is what the attempt raised. Never
    raises; takes two seconds at most, beyond the last attempt.
    """
    try:
        if _is_too_deep(error):
            return (
                "is nested too deeply to be sent to another process; pass it flattened, or in parts"
            )
        with collecting_refs() as _refs:
            return _told(value, _path_to_culprit(value), error)
    except Exception:
        return f"cannot be sent to another process: {_shown_error(error)}"


def cause_worth_showing(error: BaseException) -> BaseException | None:
    """Return the error of an attempt if user code raised it: the diagnosis says all the rest."""
    traceback = error.__traceback__
    while traceback is not None:
        package = traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in _NOT_THE_USERS and package not in sys.stdlib_module_names:
            return error
        traceback = traceback.tb_next
    return None


# --- the way to the culprit ---------------------------------------------------------------------


class Step(NamedTuple):
    """How one gets from a value to a part of it.

    `label` continues a path ("['cfg']", ".client") or, if `is_use`, is a phrase about a function
    ("uses the global 'LOCK'").
    """

    label: str
    is_use: bool
    part: object


@dataclass(slots=True)
class _Budget:
    """When to stop looking."""

    end: float

    def is_spent(self) -> bool:
        return time.monotonic() > self.end


def _path_to_culprit(value: object) -> list[Step]:
    """Return the steps from `value` to the smallest part that cannot be pickled."""
    budget = _Budget(time.monotonic() + _SECONDS)
    steps: list[Step] = []
    seen = {id(value)}
    while len(steps) < _LEVELS and name_of(value) is None:
        parts = [step for step in _parts_of(value) if id(step.part) not in seen]
        step = _first_stuck(parts, budget)
        if step is None:
            break
        steps.append(step)
        value = step.part
        seen.add(id(value))
    return steps


def _first_stuck(parts: Sequence[Step], budget: _Budget) -> Step | None:
    """Return the first part that cannot be pickled, found by halving."""
    parts = [step for step in parts if type(step.part) not in _TRAVELS_AS_IT_IS]
    if not parts or _travels([step.part for step in parts]):
        return None
    while len(parts) > 1 and not budget.is_spent():
        half = parts[: len(parts) // 2]
        parts = parts[len(half) :] if _travels([step.part for step in half]) else half
    return parts[0] if len(parts) == 1 else None


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


def _travels(value: object) -> bool:
    return _error_of(value) is None


def _error_of(value: object) -> Exception | None:
    """Return what pickling a value raises, None if it works. Keeps no bytes."""
    import cloudpickle

    pickler: Any = cloudpickle.Pickler  # its own stubs do not know `buffer_callback`
    try:
        pickler(_Nowhere(), 5, buffer_callback=lambda _: False).dump(value)
    except Exception as error:
        return error
    return None


# --- what a value consists of ---------------------------------------------------------------------


def _parts_of(value: Any) -> Iterator[Step]:
    """Yield the parts that are pickled with a value, as far as they can be told."""
    if isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, types.MethodType):
        yield Step(".__self__", False, value.__self__)
        yield Step("", False, value.__func__)
    elif isinstance(value, functools.partial):
        yield Step(".func", False, value.func)
        yield from _items(".args", value.args)
        yield from _entries(".keywords", value.keywords)
    elif isinstance(value, type):
        for name, member in list(vars(value).items()):
            if name not in ("__dict__", "__weakref__"):
                yield Step(f".{name}", False, getattr(member, "__func__", member))
    else:
        yield from _contents(value)
        yield from _attributes(value)
        yield from _reduced_parts(value)


def _contents(value: Any) -> Iterator[Step]:
    if isinstance(value, Mapping):
        yield from _entries("", value)
    elif isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        for name, part in zip(names, value, strict=False):
            yield Step(f".{name}", False, part)
    elif isinstance(value, (list, tuple, deque)):
        yield from _items("", value)
    elif isinstance(value, (set, frozenset, Set)):
        for part in value:
            yield Step(" (as an element)", False, part)
    elif isinstance(value, BaseException):
        yield from _items(".args", value.args)
    elif type(value).__name__ == "ndarray" and value.dtype == object:
        yield from _items(".flat", value.flat)


def _items(path: str, values: Iterable[object]) -> Iterator[Step]:
    for place, part in enumerate(values):
        yield Step(f"{path}[{place}]", False, part)


def _entries(path: str, values: Mapping[Any, object]) -> Iterator[Step]:
    for key, part in list(values.items()):
        yield Step(f"{path}[{_shown(key)}]", False, part)
    for key in list(values):
        yield Step(f"{path} (as a key)", False, key)


def _attributes(value: Any) -> Iterator[Step]:
    for name, part in list(getattr(value, "__dict__", {}).items()):
        yield Step(f".{name}", False, part)
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            part = getattr(value, name, None)
            yield Step(f".{name}", False, part)


def _reduced_parts(value: Any) -> Iterator[Step]:
    """Yield what a value says itself that it is made from; the names it has for that if any."""
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        return
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:
        return
    if not isinstance(reduced, tuple):
        return
    names = {id(part): name for name, part in getattr(value, "__dict__", {}).items()}
    _, args, state, *_ = *reduced, None, None
    for part in (*(args or ()), *(state if isinstance(state, tuple) else (state,))):
        if isinstance(part, dict):
            for name, inner in part.items():
                yield Step(f".{name}" if isinstance(name, str) else "", False, inner)
        else:
            name = names.get(id(part), "__wrapped__")
            yield Step("" if name == "__wrapped__" else f".{name}", False, part)


def _parts_of_function(function: types.FunctionType) -> Iterator[Step]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            part = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        yield Step(f"closes over {name!r}", True, part)
    for name, line in _global_names(code):
        if name in function.__globals__:
            place = f" ({code.co_filename}:{line})" if line else ""
            yield Step(f"uses the global {name!r}{place}", True, function.__globals__[name])
    named = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    for name, part in zip(named[len(named) - len(defaults) :], defaults, strict=False):
        yield Step(f"has a default for {name!r}", True, part)
    for name, part in (function.__kwdefaults__ or {}).items():
        yield Step(f"has a default for {name!r}", True, part)
    for name, part in vars(function).items():
        yield Step(f".{name}", False, part)


def _global_names(code: types.CodeType) -> Iterator[tuple[str, int]]:
    """Yield the globals that a function reads, with a line that does; nested functions too."""
    import dis

    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        # An int up to Python 3.12; later a bool, and `line_number` says it.
        starts = getattr(instruction, "line_number", instruction.starts_line)
        line = starts if type(starts) is int else line
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval), line
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


# --- in words -----------------------------------------------------------------------------------


def _told(value: object, steps: list[Step], error: BaseException) -> str:
    """Make a sentence of the steps.

    Steps through data are one path; a step out of a function begins a new clause:
    `contains the function f() at ['fn'], which closes over 'conn', a socket, which cannot ...`.
    """
    clauses: list[str] = []
    path = ""
    holder = value
    for step in steps:
        if step.is_use:
            if path:
                clauses.append(f"contains {_name(holder)} at {path}")
            clauses.append(step.label)
            path = ""
        else:
            path += step.label
        holder = step.part
    culprit, known = _name(holder), name_of(holder)
    ending = "cannot be sent to another process"
    if known is None:
        ending += f" ({_shown_error(_error_of(holder) or error)})"
    ending += f"; {advice_for(holder)}"
    if path:
        clauses.append(
            f"contains {culprit}{path}" if path[0] == " " else f"contains {culprit} at {path}"
        )
    elif clauses:
        clauses[-1] += f", {culprit}"
    elif steps:
        clauses.append(f"contains {culprit}")
    else:
        clauses.append(f"is {culprit}")
    return ", which ".join([*clauses, ending])


def _name(value: object) -> str:
    known = name_of(value)
    if known is not None:
        return known
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (types.FunctionType, types.MethodType)):
        return f"the function {value.__name__}()"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeio' else 'a'} {kind} object"


def _is_too_deep(error: BaseException) -> bool:
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def _shown_error(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    text = text if len(text) <= 200 else text[:200] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _shown(key: object) -> str:
    try:
        text = repr(key)
    except Exception:
        text = f"<{type(key).__name__}>"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
