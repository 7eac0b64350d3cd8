"""Which tasks the running code is inside of, and what must get out of all of them."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import Final

from flame_remote._ids import TaskId

# The tasks that this code runs in, outermost first; follows into coroutines.
task_stack: ContextVar[tuple[TaskId, ...]] = ContextVar("flame_inline_task_stack", default=())


def current_parent() -> TaskId:
    """Return the innermost task or scope that this code runs in, 0 outside any."""
    stack = task_stack.get()
    return stack[-1] if stack else 0


def ends_the_program(error: BaseException) -> bool:
    """Say whether an exception out of a task is meant for the whole program.

    That is Ctrl-C, and `q` at a debugger's prompt. A KeyboardInterrupt that code has raised with a
    `raise` statement is an error of that task like any other.
    """
    debugger = sys.modules.get("bdb")
    if debugger is not None and isinstance(error, debugger.BdbQuit):
        return True
    return isinstance(error, KeyboardInterrupt) and not _was_raised_by_statement(error)


_RAISING: Final = frozenset({"RAISE_VARARGS", "RERAISE"})


def _was_raised_by_statement(error: BaseException) -> bool:
    import opcode

    traceback = error.__traceback__
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code.co_code
    return opcode.opname[code[traceback.tb_lasti]] in _RAISING
