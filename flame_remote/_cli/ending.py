"""How a command ends: an exit code, and one line on standard error where something is wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from enum import IntEnum
from typing import Final, NoReturn

import click

from flame_remote.exceptions import (
    ClusterError,
    ClusterTimeoutError,
    ConnectError,
    FlameError,
    FlameErrorCode,
    InvalidOptionError,
)

from .words import printable

DEBUG: Final = "flame_remote.debug"  # in a context's `meta`: errors are told with their traceback


class ExitCode(IntEnum):
    """What a command's exit code means."""

    OK = 0
    FAILED = 1  # the cluster refused, or what was asked for did not work
    USAGE = 2  # an option, a file that was given or the configuration is wrong; nothing was tried
    UNREACHABLE = 3  # nobody answers at the endpoint
    NOT_FOUND = 4  # there is no application, session, task or node of that name
    TIMED_OUT = 124
    INTERRUPTED = 130  # Ctrl-C
    OUTPUT_CLOSED = 141  # who read the output has gone, as in `flmctl list -s | head -1`


class CommandError(Exception):
    """A command cannot do what it was asked for; the text says why."""

    code = ExitCode.FAILED


class UserError(CommandError):
    """What was given to a command makes no sense."""

    code = ExitCode.USAGE


class NotRunning(CommandError):
    """The local cluster does not run."""

    code = ExitCode.UNREACHABLE


_CODES: Final = (
    (ConnectError, ExitCode.UNREACHABLE),
    (ClusterTimeoutError, ExitCode.TIMED_OUT),
    (InvalidOptionError, ExitCode.USAGE),
)
_CLUSTER_CODES: Final = {
    FlameErrorCode.NOT_FOUND: ExitCode.NOT_FOUND,
    FlameErrorCode.INVALID_CONFIG: ExitCode.USAGE,
}


def run(command: click.Command, program: str) -> NoReturn:
    """Run a command line and leave the process with its exit code. Prints no traceback.

    Args:
        command: the command or group; its arguments are those of the process.
        program: its name, for messages.
    """
    if f"_{program.upper().replace('-', '_')}_COMPLETE" in os.environ:
        command.main(prog_name=program)  # the shell asks for completions
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # something that a caller has put there
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = execute(command, program, sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        _die_of_interrupt()
    except BrokenPipeError:
        code = ExitCode.OUTPUT_CLOSED
        _drop_output()
    except OSError as error:
        code = ExitCode.FAILED
        _drop_output()
        what = error.filename or "cannot write the output"
        _tell(program, f"{what}: {error.strerror or error}")
    sys.exit(code)


def execute(command: click.Command, program: str, arguments: list[str]) -> int:
    """Parse arguments and run a command; return its exit code.

    Errors of the command are told on standard error; KeyboardInterrupt and what goes wrong in
    writing the output (OSError) are left to the caller.
    """
    context: click.Context | None = None
    try:
        with command.make_context(program, arguments) as context:
            command.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else program
        message = error.format_message().rstrip(".")
        _tell(path, f"{message[:1].lower()}{message[1:]}; see `{path} --help`")
        return ExitCode.USAGE
    except click.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, FlameError):
            raise
        return _failed(error, context, program)
    return ExitCode.OK


def _failed(error: Exception, context: click.Context | None, program: str) -> ExitCode:
    """Tell an error of a command; return its exit code."""
    path = program
    if context is not None:
        if context.meta.get(DEBUG):
            traceback.print_exception(error)
        if context.invoked_subcommand:
            path = f"{program} {context.invoked_subcommand}"
    if isinstance(error, (FlameError, CommandError)):
        _tell(path, str(error))
    else:
        what = f"{type(error).__name__}: {error}"
        _tell(path, f"this should not happen: {what}; --debug shows where it did")
    return exit_code_of(error)


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code of a command that ends with this error."""
    if isinstance(error, CommandError):
        return error.code
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, ClusterError):
        return _CLUSTER_CODES.get(error.code, ExitCode.FAILED)
    return ExitCode.FAILED


def _tell(path: str, message: str) -> None:
    """Write a message to standard error; the lines after the first are indented."""
    lines = [printable(line) for line in message.splitlines()] or ["failed"]
    with contextlib.suppress(OSError):
        print(f"{path}: " + "\n  ".join(lines), file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Let what is still in the buffer of standard output go nowhere, and so raise no more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _die_of_interrupt() -> NoReturn:
    """End by the signal itself: a shell sees 130, and ends the loop around the command."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    sys.exit(ExitCode.INTERRUPTED)  # where the signal is blocked
