"""Where code runs: `get_runtime_context()`, with Ray's methods."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import flame_remote as flame

from ._starting import current_namespace, node_id
from .actor import ActorHandle


class RuntimeContext:
    """Where the calling code runs. Ids are hexadecimal digits, as Ray's are."""

    def __init__(self) -> None:
        self._here = flame.context()

    # --- ids ----------------------------------------------------------------------------

    def get_job_id(self) -> str:
        """Return the id of the program."""
        return "01000000"

    def get_node_id(self) -> str:
        """Return the id of this machine."""
        return node_id()

    def get_worker_id(self) -> str:
        """Return the id of this process."""
        return _hex(f"process {os.getpid()}", 28)

    def get_task_id(self) -> str | None:
        """Return the id of the call; None in the main program."""
        return _hex(f"task {self._here.task_id}", 24) if self._here.task_id else None

    def get_actor_id(self) -> str | None:
        """Return the id of the actor that the call runs on; None on none."""
        return _hex(f"actor {self._here.actor_id}", 16) if self._here.actor_id else None

    # --- names --------------------------------------------------------------------------

    def get_task_name(self) -> str | None:
        """Return the name of the call; None in the main program."""
        return self._here.task_name or None

    def get_task_function_name(self) -> str | None:
        """Return the name of the function; None in the main program."""
        return self.get_task_name()

    def get_actor_name(self) -> str | None:
        """Return the name that the actor was given; None on none, "" without a name."""
        return self._here.actor_name if self._here.actor_id else None

    @property
    def namespace(self) -> str:
        """The namespace of named actors."""
        return current_namespace() or str(getattr(self._here, "namespace", "") or "")

    # --- what it has --------------------------------------------------------------------

    def get_assigned_resources(self) -> dict[str, float]:
        """Return what the call, or its actor, was assigned; in the main program, what there is."""
        return {name: amount for name, amount in self._here.resources.items() if amount}

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Return the ids of the GPUs that the call, or its actor, has."""
        from ._starting import get_gpu_ids

        return {"GPU": [str(number) for number in get_gpu_ids()]}

    def get_node_labels(self) -> dict[str, str]:
        """Return the labels of this machine: none."""
        return {}

    @property
    def runtime_env(self) -> dict[str, Any]:
        """What workers were given; {} where flame does not tell."""
        return dict(getattr(self._here, "runtime_env", None) or {})

    def get_runtime_env_string(self) -> str:
        """Return `runtime_env` as JSON."""
        return json.dumps(self.runtime_env)

    # --- state --------------------------------------------------------------------------

    def is_canceled(self) -> bool:
        """Say whether the call was cancelled."""
        return self._here.is_cancelled

    @property
    def current_actor(self) -> ActorHandle:
        """The handle of the actor that the call runs on.

        Raises:
            RuntimeError: it runs on none.
            NotImplementedError: this version of flame cannot tell.
        """
        if not self._here.actor_id:
            raise RuntimeError("current_actor is for methods of actors: this code runs on none")
        actor: Any = getattr(self._here, "actor", None)
        if actor is None:
            raise NotImplementedError("current_actor cannot be had: pass the actor its own handle")
        return ActorHandle.of(actor)

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor was constructed again after its process died."""
        return bool(getattr(self._here, "actor_restarts", 0))

    @property
    def gcs_address(self) -> str:
        """The address of a server: there is none."""
        return ""

    def get_placement_group_id(self) -> None:
        """Return None: there are no placement groups."""

    def get_session_name(self) -> str:
        """Return a name of the program."""
        return f"session_{os.getpid()}"

    def get(self) -> dict[str, Any]:
        """Return the ids as a dict, as old programs want them."""
        ids = {"job_id": self.get_job_id(), "node_id": self.get_node_id()}
        more = {"task_id": self.get_task_id(), "actor_id": self.get_actor_id()}
        return ids | {name: value for name, value in more.items() if value is not None}

    # Names of before.
    @property
    def actor_id(self) -> str | None:
        """As `get_actor_id()`."""
        return self.get_actor_id()

    @property
    def task_id(self) -> str | None:
        """As `get_task_id()`."""
        return self.get_task_id()

    @property
    def node_id(self) -> str:
        """As `get_node_id()`."""
        return self.get_node_id()

    @property
    def job_id(self) -> str:
        """As `get_job_id()`."""
        return self.get_job_id()


def _hex(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def get_runtime_context() -> RuntimeContext:
    """Return where the calling code runs."""
    return RuntimeContext()
