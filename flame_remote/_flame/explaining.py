"""Why an object is not there yet, in words."""

from __future__ import annotations

from flame_remote._ids import ObjectId

from .calls import Call, CallState
from .stored import Stored
from .table import Table


def explain(table: Table, object_id: ObjectId) -> str:
    """Say what an object waits for, or what is there instead. Engine's thread."""
    stored = table.by_id.get(object_id)
    text = table.describe(object_id)
    if stored is None or stored.done:
        return f"{text}: it is there"
    if stored.call is None:
        return f"{text}: another process makes it"
    return f"{text}: {_explain_call(table, stored, stored.call)}"


def _explain_call(table: Table, stored: Stored, call: Call) -> str:
    lane = call.lane
    session = lane.plan.session_id
    if call.state is CallState.WAITING:
        missing = [table.describe(one) for one in list(call.missing)[:5]]
        return f"it waits for {', '.join(missing) or 'what is before it on its actor'}"
    if call.state is not CallState.SENT:
        return f"it waits for room in session {session}, which has {lane.under_way} tasks under way"
    task = f"task {stored.place[1]} of " if stored.place is not None else ""
    trouble = f"no worker could be started so far: {lane.trouble}" if lane.trouble else ""
    return f"it is in {task}session {session}; {trouble or f'see flmctl view -s {session}'}"


def progress(table: Table, stored: Stored) -> str:
    """Say what an object is and how far it is; and why it gets no further, if that is known."""
    trouble = stored.call.lane.trouble if stored.call is not None else ""
    text = table.describe(stored.id)
    return f"{text}: no worker could be started so far: {trouble}" if trouble else text
