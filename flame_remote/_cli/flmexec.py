"""`flmexec`: runs a script on a Flame cluster, once or many times."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from flame_remote import __version__

from .ending import CommandError, run
from .settings import Settings, cluster_options, pass_settings, tasks_option, wait_option
from .tables import items

if TYPE_CHECKING:
    from flame_remote.core.tasks import Task

    from .runs import Run

APPLICATION: Final = "flmexec"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--code", metavar="TEXT", required=True, help="The script.")
@click.option(
    "-l",
    "--language",
    type=click.Choice(["shell", "python"], case_sensitive=False),
    default="shell",
    help="Of the script; default shell.",
)
@click.option(
    "-r", "--runtime", metavar="NAME", help="Version of Python, or the shell; default bash."
)
@click.option("-i", "--input", "given", metavar="TEXT", help="Standard input of the script.")
@tasks_option
@wait_option
@cluster_options
@click.version_option(__version__)
@pass_settings
def flmexec(
    settings: Settings,
    code: str,
    language: str,
    runtime: str | None,
    given: str | None,
    task_num: int,
    wait: float,
) -> None:
    """Run a script in tasks of a Flame cluster, and show what it writes.

    Ends with exit code 1 if a task failed.
    """
    from .runs import run_tasks, session_of

    script = {
        "language": language,
        "runtime": runtime,
        "code": code,
        "input": None if given is None else list(given.encode()),
    }
    cluster = settings.cluster()
    with session_of(cluster, APPLICATION) as (session, seconds):
        session_id = session.metadata.id
        if not settings.json:
            click.echo(
                f"Session <{session_id}> was created in <{seconds * 1000:.0f} ms>, "
                f"start to run <{task_num:,}> tasks in the session:\n"
            )
        done = run_tasks(cluster, session_id, json.dumps(script).encode(), task_num, wait)
    settings.show(_as_json(session_id, done), lambda: _text(done))
    if done.succeeded < task_num:
        raise CommandError(f"{task_num - done.succeeded} of {task_num} tasks failed")


def _text(done: Run) -> str:
    lines = items((f"Task {task.id:<10}: {_output(task).rstrip()}" for task in done.tasks), "")
    return (
        lines + f"\n\n<{len(done.tasks):,}> tasks was completed in "
        f"<{done.seconds * 1000:,.0f} ms>.\n\n"
    )


def _output(task: Task) -> str:
    """Return what the script has written, or why its task failed."""
    from .runs import reason_of

    if task.output is None:
        return reason_of(task)
    try:
        return bytes(json.loads(task.output)["data"]).decode(errors="replace")
    except (ValueError, TypeError, KeyError):
        return repr(task.output)


def _as_json(session_id: str, done: Run) -> dict[str, Any]:
    from .runs import state_of

    return {
        "session": session_id,
        "seconds": done.seconds,
        "succeeded": done.succeeded,
        "failed": len(done.tasks) - done.succeeded,
        "tasks": [
            {"id": task.id, "state": state_of(task), "output": _output(task)} for task in done.tasks
        ],
    }


def main() -> NoReturn:
    """Run as a program."""
    run(flmexec, "flmexec")
