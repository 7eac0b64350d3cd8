"""A call that failed, in a file: its code and its arguments, to be called again elsewhere.

A pickle of plain data; the user's code and values are pickles inside it. Written by the process
that made the call, after it has failed, so it also serves where the worker crashed.
"""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from flame_remote import _ids
from flame_remote._ids import ObjectId
from flame_remote._spec import TargetKind, TaskSpec
from flame_remote._wire.arguments import unpack_arguments
from flame_remote._wire.packing import unpack
from flame_remote.exceptions import FlameError, ReplayError

from .failure import Failure, one_line
from .iterations import is_of_iteration

_MAGIC: Final = b"FLMC1\n"
_MOST_BUNDLES: Final = 100  # of a session: a program may fail very often

Values = Sequence[tuple[int | str, Any]]


@dataclass(slots=True)
class SavedCall:
    """One call: what is called, and a pickle of the places and values that were refs."""

    kind: str
    name: str
    code: bytes
    payload: tuple[Any, ...] | bytes
    values: bytes
    has_refs: bool  # inside its arguments or its code; they cannot be followed later
    method: str = ""

    @classmethod
    def of(cls, spec: TaskSpec, values: Values) -> SavedCall:
        """Take a call down. Runs the values' own code."""
        import cloudpickle

        target = spec.target
        return cls(
            target.kind.value,
            target.name,
            target.code,
            spec.payload,
            cloudpickle.dumps(list(values), 5),
            bool(spec.nested or target.refs),
            target.method,
        )

    def prepare(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Return what is to be called, with its arguments. Runs the user's own code."""
        code = unpack(self.code) if self.code else None
        args, kwargs = unpack_arguments(self.payload, pickle.loads(self.values))
        return code, args, kwargs  # type: ignore[return-value]


@dataclass(slots=True)
class Bundle:
    """A call that failed. `creation` is the construction of the instance that it was made on."""

    call: SavedCall
    creation: SavedCall | None
    error: str
    traceback: str
    task: str
    path: list[str]
    folder: str
    python: str

    def write(self, path: str) -> None:
        """Write the file. Raises OSError."""
        partly = f"{path}.partly"
        with open(partly, "wb") as file:
            file.write(_MAGIC + pickle.dumps(asdict(self), 5))
        os.replace(partly, path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Bundle:
        """Read a file. Raises OSError; ReplayError if it is none of ours."""
        with open(path, "rb") as file:
            data = file.read()
        if not data.startswith(_MAGIC):
            raise ReplayError(
                os.fspath(path), "it is no call saved by this version of flame_remote"
            )
        fields = pickle.loads(data[len(_MAGIC) :])
        creation = fields.pop("creation")
        return cls(
            **{**fields, "call": SavedCall(**fields["call"])},
            creation=None if creation is None else SavedCall(**creation),
        )


class BundleWriter:
    """Writes the calls of a session that fail into a folder. Outside turns and locks."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._written = 0

    def is_worth_saving(self, data: bytes) -> bool:
        """Say whether a failure is that of the call's own code, or of its process."""
        if self._written >= _MOST_BUNDLES:
            return False
        failure = Failure.load(data)
        if failure.needed_by:
            return False
        crashed = failure.chain[0].type_name.endswith(".WorkerCrashedError")
        return bool(failure.function_name and not failure.callers) or crashed

    def save(
        self,
        spec: TaskSpec,
        creation: TaskSpec | None,
        data: bytes,
        load: Callable[[Iterable[ObjectId]], Sequence[Any]],
    ) -> None:
        """Write a call that failed, and the construction of its instance if that is known.

        `load` returns the values of objects. What keeps the file from being written is logged.
        """
        if is_of_iteration(spec.target.method):
            return  # an item of a generator cannot be made again by itself
        self._written += 1
        stem = re.sub(r"[^\w.-]", "_", spec.target.name)
        number = _ids.show(spec.id).removeprefix("#")
        path = os.path.join(self._folder, f"{stem}-{os.getpid()}-{number}.flame")
        try:
            Bundle(
                call=SavedCall.of(spec, _values_of(spec, load)),
                creation=None
                if creation is None
                else SavedCall.of(creation, _values_of(creation, load)),
                error=one_line(data),
                traceback=Failure.load(data).text,
                task=_ids.show(spec.id),
                path=list(sys.path),
                folder=os.getcwd(),
                python=sys.version.split()[0],
            ).write(path)
        except Exception as error:
            import logging

            logging.getLogger("flame_remote").warning(
                "the call of %s() that failed could not be saved in %s: %r",
                spec.target.name,
                path,
                error,
            )


def _values_of(
    spec: TaskSpec, load: Callable[[Iterable[ObjectId]], Sequence[Any]]
) -> list[tuple[int | str, Any]]:
    """Return the places and values of a call's arguments that were refs."""
    values = load([object_id for _, object_id in spec.dependencies])
    return list(zip([place for place, _ in spec.dependencies], values, strict=True))


def call_again(bundle: Bundle, path: str) -> Any:
    """Make a saved call here, in this thread; return or raise what it does."""
    for saved in (bundle.creation, bundle.call):
        if saved is not None and saved.has_refs:
            raise ReplayError(path, f"{saved.name}() has refs inside its arguments or its code")
    sys.path += [folder for folder in bundle.path if folder not in sys.path]
    try:
        function, args, kwargs = bundle.call.prepare()
        if bundle.call.kind == TargetKind.METHOD.value:
            if bundle.creation is None:
                raise ReplayError(
                    path, "the arguments of the actor's constructor were gone by then"
                )
            cls, own_args, own_kwargs = bundle.creation.prepare()
            function = getattr(cls(*own_args, **own_kwargs), bundle.call.method)
    except FlameError:
        raise
    except Exception as error:
        reason = f"its code or arguments cannot be rebuilt here: {error!r}"
        raise ReplayError(path, reason) from error
    value = function(*args, **kwargs)
    if hasattr(value, "cr_frame"):  # of an `async def`
        import asyncio

        return asyncio.run(value)
    return value
