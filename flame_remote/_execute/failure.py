"""How an error travels: everything that shows it, as data, and an exception made from that.

Written where the task ran, read where its result is asked for, opaque to everything between.
Nothing here raises, whatever the user's exception does, and everything is bounded.
"""

from __future__ import annotations

import builtins
import pickle
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, cast

from flame_remote import _ids
from flame_remote.exceptions import FlameError

from .frames import Frame, build_traceback, format_frames, take_frames
from .portable import (
    dump_exception,
    load_exception,
    new_exception,
    state_of,
)
from .task_error import (
    RebuiltError,
    UncombinedError,
    combined_class,
    user_class,
)
from .text import message_of, shorten, type_name

_TEXT_LIMIT: Final = 64 * 1024
_MESSAGE_LIMIT: Final = 16 * 1024
_CHAIN_LIMIT: Final = 16  # exceptions in a chain of causes
_NAMES_LIMIT: Final = 8  # tasks named as callers, or as those that needed the result
_GROUP_LIMIT: Final = 5  # exceptions shown of a group, and levels of groups in groups

_GROUP: Final = getattr(builtins, "BaseExceptionGroup", ())  # Python 3.11 and later


@dataclass(slots=True)
class Link:
    """One exception of a chain of causes. `relation` says what it is to the one before it."""

    relation: str  # "" for the error itself, "cause" or "context"
    type_name: str
    message: str
    pickled: bytes | None
    frames: tuple[tuple[Any, ...], ...]


@dataclass(slots=True)
class Failure:
    """An error with what is known of the task that raised it.

    `function_name`, `task_id` and `pid` are those of the task whose code raised first, `callers`
    the tasks that it went through afterwards, nearest first, and `needed_by` the tasks that never
    ran for want of a result, nearest first. `function_name` is empty for an error of the engine.
    """

    function_name: str
    task_id: int
    pid: int
    text: str
    chain: tuple[Link, ...]
    callers: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()

    def dump(self) -> bytes:
        """Return the failure as bytes: a pickle of plain data."""
        chain = [
            (link.relation, link.type_name, link.message, link.pickled, link.frames)
            for link in self.chain
        ]
        return pickle.dumps(
            (
                self.function_name,
                self.task_id,
                self.pid,
                self.text,
                chain,
                self.callers,
                self.needed_by,
            ),
            5,
        )

    @classmethod
    def load(cls, data: bytes) -> Failure:
        """Read what dump wrote."""
        function_name, task_id, pid, text, chain, callers, needed_by = pickle.loads(data)
        links = tuple(Link(*link) for link in chain)
        return cls(function_name, task_id, pid, text, links, callers, needed_by)


# --- where the error was raised -----------------------------------------------------------------


def encode_failure(error: BaseException, function_name: str, task_id: int, pid: int) -> bytes:
    """Return an error that user code raised, ready to travel. Never raises."""
    try:
        text = _format_chain(error)
    except BaseException as failure:  # of a class that resists being looked at
        text = f"{type(error).__name__}: <{type(failure).__name__} while it was formatted>"
    try:
        if isinstance(error, RebuiltError):  # of a task that this one waited for
            return _passed_on(error, text, function_name).dump()
        return Failure(function_name, task_id, pid, text, _chain_of(error)).dump()
    except BaseException:
        link = Link("", type(error).__name__, message_of(error, _MESSAGE_LIMIT), None, ())
        return Failure(function_name, task_id, pid, text, (link,)).dump()


def encode_error(error: FlameError) -> bytes:
    """Return an error of the engine's own, ready to travel. Never raises."""
    return encode_failure(error, "", 0, 0)


def one_line(data: bytes) -> str:
    """Return the error's type and the first line of its message."""
    error = Failure.load(data).chain[0]
    message = error.message.partition("\n")[0]
    name = error.type_name.removeprefix("builtins.")
    return shorten(f"{name}: {message}" if message else name, 300)


def add_needed_by(data: bytes, function_name: str) -> bytes:
    """Return the error with a remark that `function_name` could not run because of it."""
    failure = Failure.load(data)
    return replace(failure, needed_by=_append(failure.needed_by, function_name)).dump()


def _passed_on(error: RebuiltError, text: str, function_name: str) -> Failure:
    """Return the failure of a task that did not catch the error of another."""
    failure = Failure.load(error.__dict__["_flame_given"]["_flame_failure"])
    if isinstance(error, UncombinedError):
        frames = tuple(tuple(frame) for frame in take_frames(error.__traceback__))
        chain = (replace(failure.chain[0], frames=frames), *failure.chain[1:])
    else:
        chain = _chain_of(error)
    callers = _append(failure.callers, f"{function_name}()")
    return replace(failure, text=text, chain=chain, callers=callers)


def _chain_of(error: BaseException) -> tuple[Link, ...]:
    """Return the error and what led to it, as far as Python would print it."""
    links: list[Link] = []
    seen: set[int] = set()
    relation, current = "", error
    while len(links) < _CHAIN_LIMIT:
        seen.add(id(current))
        pickled, remark = dump_exception(current)
        message = message_of(current, _MESSAGE_LIMIT)
        links.append(
            Link(
                relation,
                type_name(user_class(current)),
                f"{message} {remark}" if remark else message,
                pickled,
                tuple(tuple(frame) for frame in take_frames(current.__traceback__)),
            )
        )
        relation, following = _next_in_chain(current)
        if following is None or id(following) in seen:
            break
        current = following
    return tuple(links)


def _next_in_chain(error: BaseException) -> tuple[str, BaseException | None]:
    if error.__cause__ is not None:
        return "cause", error.__cause__
    return "context", None if error.__suppress_context__ else error.__context__


_RELATIONS: Final = {
    "cause": "\nThe above exception was the direct cause of the following exception:\n\n",
    "context": "\nDuring handling of the above exception, another exception occurred:\n\n",
}


def _format_chain(error: BaseException) -> str:
    """Return the traceback text that Python would print here, without our own frames; bounded."""
    text, relation, seen, current = "", "", set(), error
    for _ in range(_CHAIN_LIMIT):
        seen.add(id(current))
        text = _format(current, _GROUP_LIMIT) + _RELATIONS.get(relation, "") + text
        relation, following = _next_in_chain(current)
        if following is None or id(following) in seen:
            break
        current = following
    else:
        text = "... [earlier causes left out]\n" + text
    return shorten(text, _TEXT_LIMIT)


def _format(error: BaseException, levels: int) -> str:
    """Format one exception, and those in it if it is a group."""
    frames = format_frames(take_frames(error.__traceback__))
    text = f"Traceback (most recent call last):\n{frames}" if frames else ""
    text += _last_lines(error)
    members = getattr(error, "exceptions", ()) if isinstance(error, _GROUP) and levels else ()
    for number, member in enumerate(members[:_GROUP_LIMIT], 1):
        inner = _format(member, levels - 1)
        text += f"  +---------------- {number} ----------------\n"
        text += "".join(f"  | {line}\n" for line in inner.splitlines())
    if len(members) > _GROUP_LIMIT:
        text += f"  +- and {len(members) - _GROUP_LIMIT} more exceptions\n"
    return text


def _last_lines(error: BaseException) -> str:
    name = type_name(user_class(error))
    message = message_of(error, _MESSAGE_LIMIT)
    lines = [f"{name}: {message}" if message else name]
    notes = error.__dict__.get("__notes__")
    if isinstance(notes, (list, tuple)):
        lines += [shorten(note, _MESSAGE_LIMIT) for note in notes[:20] if type(note) is str]
    return "\n".join(lines) + "\n"


def _append(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Append a name; once there are many, the one before the last gives way to a mark."""
    if len(names) < _NAMES_LIMIT:
        return (*names, name)
    return (*names[: _NAMES_LIMIT - 2], "...", name)


# --- where the result is asked for --------------------------------------------------------------


def rebuild_error(data: bytes, *, runs_user_code: bool = True) -> BaseException:
    """Return a new exception that shows what happened. Raises nothing but KeyboardInterrupt.

    An error of user code becomes an instance of TaskError and, where that can be, of its own
    type; its traceback consists of the frames of the worker. Without `runs_user_code` it is no more
    than a TaskError.
    """
    failure = Failure.load(data)
    if not runs_user_code:
        failure.chain = tuple(replace(link, pickled=None) for link in failure.chain)
    error, *earlier = failure.chain
    original = _load(error)
    notes = _notes_of(failure)
    if failure.function_name or original is None:
        rebuilt = _task_error(failure, original, notes, data)
    else:
        rebuilt = original  # an error of the engine's own
    with suppress(Exception):
        if sys.version_info >= (3, 11):
            for note in notes:
                BaseException.add_note(rebuilt, note)
        rebuilt = rebuilt.with_traceback(_build(error.frames))
        _attach(rebuilt if rebuilt.__cause__ is None else rebuilt.__cause__, earlier)
    return rebuilt


def _task_error(
    failure: Failure, original: BaseException | None, notes: tuple[str, ...], data: bytes
) -> BaseException:
    given: dict[str, Any] = {
        "function_name": failure.function_name,
        "remote_traceback": failure.text,
        "task_id": failure.task_id,
        "pid": failure.pid,
        "_flame_failure": data,
        "_flame_notes": notes,
    }
    if original is not None:
        with suppress(Exception):  # code of the user's class
            combined = combined_class(cast(Any, type(original)))
            if combined is not None:
                args, attributes, fields = state_of(original)
                attributes = {**given, **attributes, "_flame_given": given}
                return new_exception(combined, args, attributes, fields)
    error = failure.chain[0]
    rebuilt = UncombinedError(
        f"{error.type_name}: {error.message}" if error.message else error.type_name
    )
    rebuilt.__dict__.update(given, _flame_given=given)
    rebuilt.__cause__ = original
    return rebuilt


def _notes_of(failure: Failure) -> tuple[str, ...]:
    """Return the lines that say which task it was, and who suffers."""
    notes: list[str] = []
    if failure.function_name:
        place = f"in {failure.function_name}(), task {_ids.show(failure.task_id)}, "
        notes.append(place + f"worker pid {failure.pid}")
        if failure.callers:
            notes.append("called by " + " <- ".join(failure.callers))
    if failure.needed_by:
        notes.append("needed by: " + " <- ".join(failure.needed_by))
    return tuple(notes)


def _attach(error: BaseException, chain: list[Link]) -> None:
    """Rebuild what led to `error` and hang it there."""
    for link in chain:
        earlier = (_load(link) or _stand_in(link)).with_traceback(_build(link.frames))
        name = "__cause__" if link.relation == "cause" else "__context__"
        object.__setattr__(error, name, earlier)
        error = earlier


def _load(link: Link) -> BaseException | None:
    """Rebuild an exception; None if its class is not known here, or its code fails here."""
    try:
        return load_exception(link.pickled) if link.pickled else None
    except KeyboardInterrupt:  # Ctrl-C, as far as anybody can tell
        raise
    except BaseException:
        return None


def _build(frames: tuple[tuple[Any, ...], ...]) -> TracebackType | None:
    return build_traceback([Frame(*frame) for frame in frames])


def _stand_in(link: Link) -> BaseException:
    """Return an exception that prints as the one that could not be rebuilt."""
    module, _, name = link.type_name.rpartition(".")
    cls = type(name, (Exception,), {"__module__": module or "builtins"})
    return cast(BaseException, cls(link.message) if link.message else cls())
