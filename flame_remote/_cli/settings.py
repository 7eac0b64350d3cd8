"""What every command that asks a cluster takes: which cluster, how long, in what form to answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from .ending import DEBUG

if TYPE_CHECKING:
    from .cluster import Cluster

C = TypeVar("C", bound="Callable[..., Any] | click.Command")

DEFAULT_TIMEOUT: Final = 10.0  # seconds that one request to the cluster may take


@dataclass
class Settings:
    """The options that stand before or behind the name of a command; the last one wins."""

    config: str | None = None
    context: str | None = None
    endpoint: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    json: bool = False

    def cluster(self) -> Cluster:
        """Return the cluster that the options, the environment or the configuration name."""
        from .cluster import Cluster

        return Cluster(self)

    def show(self, values: Any, text: Callable[[], str]) -> None:
        """Write to standard output: the values as JSON if that was asked for, else the text."""
        sys.stdout.write(json.dumps(values, indent=2) + "\n" if self.json else text())


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None and value is not False:
        setattr(context.ensure_object(Settings), str(parameter.name), value)


def _debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[DEBUG] = True


def _options(*options: Callable[[C], C]) -> Callable[[C], C]:
    def decorate(command: C) -> C:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _kept(*names: str, **attributes: Any) -> Callable[[C], C]:
    return click.option(*names, expose_value=False, callback=_keep, **attributes)


json_option: Final = _kept("--json", is_flag=True, help="Print JSON instead of text.")
debug_option: Final = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_debug,
    help="Show where an error came from.",
)
cluster_options: Final = _options(
    _kept("--endpoint", metavar="URL", help="Address of the cluster, as http://host:8080."),
    _kept("--context", metavar="NAME", help="Context of the configuration file to use."),
    _kept("--config", metavar="FILE", help="Configuration file; default ~/.flame/flame.yaml."),
    _kept(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help=f"Longest time for a request; default {DEFAULT_TIMEOUT:g}.",
    ),
    json_option,
    debug_option,
)
tasks_option: Final = click.option(
    "-t",
    "--task-num",
    type=click.IntRange(1),
    default=10,
    metavar="N",
    help="How many tasks to run; default 10.",
)
wait_option: Final = click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    metavar="SECONDS",
    help="Longest time for all tasks together; default 600.",
)


def one_of(**given: Any) -> str:
    """Return the name of the only option that was given.

    Raises:
        click.UsageError: none was, or several were.
    """
    names = [name for name, value in given.items() if value]
    if len(names) == 1:
        return names[0]
    possible = _listed(f"-{name[0]}/--{name}" for name in given)
    if not names:
        raise click.UsageError(f"one of {possible} is needed")
    raise click.UsageError(f"only one of {possible} can be given")


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"
