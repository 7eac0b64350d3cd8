"""What few calls have beside arguments, as it travels to the worker."""

from __future__ import annotations

from flame_remote._scheduling.records import TaskRecord

from .messages import About


def about_call(record: TaskRecord) -> About | None:
    """Return what the worker must know before it gets a call; None if that is an ordinary one."""
    spec = record.spec
    if spec.returns is None and record.terms is None and not spec.target.group:
        return None
    returns = None if spec.returns is None else len(spec.returns)
    failures = () if record.terms is None else tuple(record.terms.failures)
    return About(spec.id, returns, failures, spec.target.group)
