"""`flmping`: whether a cluster runs tasks, and how fast."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from flame_remote import __version__

from .ending import CommandError, run
from .settings import Settings, cluster_options, pass_settings, tasks_option, wait_option
from .tables import table

if TYPE_CHECKING:
    from flame_remote.core.tasks import Task

    from .runs import Run

APPLICATION: Final = "flmping"
_HEADS: Final = ("Session", "Task", "State", "Output")
_RULE: Final = "=" * 60


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@tasks_option
@click.option("-c", "--common-data", metavar="TEXT", help="Common data of the session.")
@click.option(
    "-d", "--duration", type=click.IntRange(0), metavar="MS", help="How long each task sleeps."
)
@click.option(
    "-m", "--memory", metavar="SIZE", help="What each task allocates: bytes, or as 512k, 64m, 1g."
)
@click.option("-p", "--perf", is_flag=True, help="Show the throughput instead of each task.")
@click.option(
    "-P", "--priority", type=click.IntRange(0, (1 << 32) - 1), default=0, help="Of the session."
)
@click.option("-r", "--resreq", metavar="TEXT", help="What each instance takes, as cpu=1,mem=2g.")
@wait_option
@cluster_options
@click.version_option(__version__)
@pass_settings
def flmping(
    settings: Settings,
    task_num: int,
    common_data: str | None,
    duration: int | None,
    memory: str | None,
    perf: bool,
    priority: int,
    resreq: str | None,
    wait: float,
) -> None:
    """Run tasks that do nothing on a Flame cluster, and show what they answer.

    Ends with exit code 1 if a task failed.
    """
    from .runs import run_tasks, session_of

    payload = json.dumps({"duration": duration, "memory": _bytes(memory)}).encode()
    common = None if common_data is None else json.dumps({"value": common_data}).encode()
    cluster = settings.cluster()
    with session_of(cluster, APPLICATION, priority=priority, resreq=resreq, common_data=common) as (
        session,
        seconds,
    ):
        session_id = session.metadata.id
        if not settings.json:
            click.echo(
                f"Session <{session_id}> was created in <{seconds * 1000:.0f} ms>, "
                f"start to run <{task_num:,}> tasks in the session:\n"
            )
        done = run_tasks(cluster, session_id, payload, task_num, wait)
    summary = _summary if perf else _each
    settings.show(_as_json(session_id, done), lambda: summary(session_id, done))
    if done.succeeded < task_num:
        raise CommandError(f"{task_num - done.succeeded} of {task_num} tasks failed")


def _bytes(memory: str | None) -> int | None:
    """Read a size as --resreq does."""
    if memory is None:
        return None
    from flame_remote.core.resources import ResourceRequirement

    try:
        return ResourceRequirement.from_string(f"mem={memory}").memory
    except ValueError:
        raise click.BadParameter(
            f"{memory!r} is not a size such as 64m", param_hint="'-m' / '--memory'"
        ) from None


def _each(session_id: str, done: Run) -> str:
    from .runs import state_of

    rows = [(session_id, task.id, state_of(task), _answer(task)) for task in done.tasks]
    count, milliseconds = len(done.tasks), done.seconds * 1000
    return (
        table(_HEADS, rows)
        + f"\n\n<{count:,}> tasks was completed in <{milliseconds:,.0f} ms>.\n\n"
    )


def _summary(session_id: str, done: Run) -> str:
    count = len(done.tasks)
    return (
        f"\n{_RULE}\nBENCHMARK RESULTS\n{_RULE}\n"
        f"Duration:        {done.seconds:.2f}s\n"
        f"Succeeded:       {done.succeeded}/{count}\n"
        f"Failed:          {count - done.succeeded}\n"
        f"Throughput:      {done.succeeded / max(done.seconds, 1e-9):.2f} tasks/sec\n"
        f"{_RULE}\n\n"
    )


def _answer(task: Task) -> str:
    """Return what the service of a task said."""
    from .runs import reason_of

    if task.output is None:
        return reason_of(task)
    try:
        return str(json.loads(task.output)["message"])
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
            {"id": task.id, "state": state_of(task), "output": _answer(task)} for task in done.tasks
        ],
    }


def main() -> NoReturn:
    """Run as a program."""
    run(flmping, "flmping")
