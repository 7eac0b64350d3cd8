"""The user's code in a worker: loaded by the first task that names it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from flame_remote._execute.result import cannot_rebuild
from flame_remote._spec import TargetKind
from flame_remote._wire.packing import unpack
from flame_remote.exceptions import (
    FlameError,
    ObjectFreedError,
    SerializationError,
    WorkerStartError,
)

from .actor_instance import ActorInstance
from .messages import LoadTarget
from .shelter import Struck
from .worker import Worker


class Unloadable(Exception):
    """Code or arguments that could not be rebuilt; holds the error for the caller."""

    def __init__(self, error: FlameError) -> None:
        super().__init__(error)
        self.error = error

    @classmethod
    def of(cls, what: str, error: BaseException) -> Unloadable:
        """Return that `what` could not be rebuilt, for that reason."""
        if isinstance(error, (SerializationError, ObjectFreedError)):
            return cls(error)
        return cls(cannot_rebuild(what, "worker", error))


class LoadedCode:
    """What tasks here may name: functions, a class, and the methods of its instance.

    Main thread, unless a method says otherwise.
    """

    def __init__(
        self, worker: Worker, actor: ActorInstance, construct: Callable[..., None]
    ) -> None:
        """`construct` makes the instance; it is given a target, its class, and the arguments."""
        # Constant after construction.
        self._worker = worker
        self._actor = actor
        self._construct = construct
        # Changing. What has been loaded is read by others too, at any time.
        self._targets: dict[int, LoadTarget] = {}
        self.functions: dict[int | str, Callable[..., Any]] = {}
        worker.load_target = self.add_target
        worker.unload_target = self.remove_target

    def add_target(self, target: LoadTarget) -> None:
        """Note code that tasks will name; it is loaded by the first of them."""
        self._targets[target.target_id] = target
        if target.kind == TargetKind.ACTOR.value:
            self._worker.gives_back = False

    def remove_target(self, target_id: int) -> None:
        """Forget code that no task will name."""
        self._targets.pop(target_id, None)
        self.functions.pop(target_id, None)

    def close(self) -> None:
        """Let go of all that was loaded."""
        self.functions.clear()

    def name_of(self, target_id: int | str) -> str:
        """Return a target's name for people. Any thread."""
        if isinstance(target_id, str):
            return self._actor.name_of(target_id)
        return self._targets[target_id].name

    def function(self, target_id: int | str) -> Callable[..., Any]:
        """Return what a task calls that names this target. Any thread. Raises Unloadable."""
        function = self.functions.get(target_id)
        if function is None:
            if isinstance(target_id, str):
                function = self._actor.method(target_id)
            else:
                function = self._load(self._targets[target_id])
            self.functions[target_id] = function
        return function

    def _load(self, target: LoadTarget) -> Callable[..., Any]:
        if self._worker.folder_to_enter:
            self._enter_folder()
        if target.path is not None:
            sys.path[:] = [*self._worker.path_first, *target.path]
        is_actor = target.kind == TargetKind.ACTOR.value
        try:
            code = unpack(target.code)
        except Struck:
            raise
        except BaseException as error:
            what = "class" if is_actor else "function"
            raise Unloadable.of(f"the {what} {target.name}", error) from None
        if is_actor:
            return partial(self._construct, target, code)
        return code  # type: ignore[no-any-return]

    def _enter_folder(self) -> None:
        """Go where the environment of this process wants its calls to be."""
        try:
            os.chdir(self._worker.folder_to_enter)
        except OSError as error:
            reason = f"the working_dir of their runtime_env cannot be entered: {error}"
            raise Unloadable(WorkerStartError(reason)) from None
        self._worker.folder_to_enter = ""
