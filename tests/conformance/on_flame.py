"""The tests of this suite that say something which a Flame cluster cannot mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WHY_NOT: Final[Mapping[str, str]] = {
    "test_a_task_can_free_what_it_was_given": (
        "a value on a cluster belongs to the process that made it, and only that can free it"
    ),
    "test_a_weak_ref_can_be_passed_to_a_task_and_keeps_nothing": (
        "a worker of a cluster knows an object by what a ref brings, and a weak ref brings nothing"
    ),
    "test_the_initializer_runs_before_the_first_call_in_each_worker": (
        "functions of this file are sent as code, so each has global variables of its own"
    ),
    "test_a_session_is_a_context_manager": (
        "num_cpus says nothing about a cluster, which has its own"
    ),
}


def why_not(test: str) -> str | None:
    """Return why a test does not run on a cluster, None if it does."""
    return WHY_NOT.get(test)
