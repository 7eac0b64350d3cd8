"""`flame-remote`: the local Flame cluster, and what this machine has for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NoReturn

import click

from flame_remote import __version__

from .ending import run
from .settings import Settings, cluster_options, debug_option, json_option, pass_settings

_NAMED: Final = {"help_option_names": ["-h", "--help"]}
_FILE: Final = click.Path(path_type=Path)
_PORT: Final = click.IntRange(0, 65535)
_LINES_OF_EACH: Final = 10


@click.group(context_settings=_NAMED, no_args_is_help=False)
@click.version_option(__version__)
@debug_option
def flame_remote() -> None:
    """Run a Flame cluster on this machine, and look after it.

    What is on the cluster is shown and changed by flmctl.
    """


@flame_remote.command()
@click.option("--port", type=_PORT, metavar="N", help="Of the cluster; 0: any. Default 8080.")
@click.option("--cache-port", type=_PORT, metavar="N", help="Of the object cache. Default 9090.")
@click.option("--data", type=_FILE, metavar="FOLDER", help="What outlives a restart is there.")
@click.option("--python", metavar="FILE", help="Interpreter of instances; default: this one.")
@click.option(
    "--instances", type=click.IntRange(1), metavar="N", help="Most processes of all sessions."
)
@click.option(
    "--bind-attempts",
    type=click.IntRange(1),
    metavar="N",
    help="Failed starts after which a session's tasks fail.",
)
@click.option("--host", metavar="ADDRESS", help="Default 127.0.0.1; others need token and TLS.")
@click.option("--token-file", type=_FILE, metavar="FILE", help="Token that clients must send.")
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="Certificate chain, PEM.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Its key, PEM.")
@click.option("--tls-ca", type=_FILE, metavar="FILE", help="Authority, for instances, PEM.")
@json_option
@debug_option
@pass_settings
def up(settings: Settings, /, **config: Any) -> None:
    """Start the local cluster, and return when it serves."""
    from . import local_cluster

    local_cluster.up(settings, {name: value for name, value in config.items() if value is not None})


@flame_remote.command()
@json_option
@debug_option
@pass_settings
def down(settings: Settings) -> None:
    """End the local cluster, if it runs, and return when it has ended.

    What it keeps over a restart stays.
    """
    from . import local_cluster

    local_cluster.down(settings)


@flame_remote.command()
@json_option
@debug_option
@pass_settings
def status(settings: Settings) -> None:
    """Show the local cluster; exit code 3 if it does not run."""
    from . import local_cluster

    local_cluster.show_status(settings)


@flame_remote.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the cluster ends, or Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    metavar="N",
    help=f"Last lines of each; default {_LINES_OF_EACH}, all of a log that is named.",
)
@click.option("-l", "--list", "only_names", is_flag=True, help="Show names and paths only.")
@json_option
@debug_option
@pass_settings
def logs(
    settings: Settings, name: str | None, follow: bool, lines: int | None, only_names: bool
) -> None:
    """Show what the local cluster and its instances have logged.

    NAME is a log's name, or the beginning of some. --json lists names and paths.
    """
    from . import local_logs

    if only_names or settings.json:
        local_logs.list_logs(settings, name)
    else:
        if lines is None and name is None:
            lines = _LINES_OF_EACH
        local_logs.show_logs(name, lines, follow=follow)


@flame_remote.command()
@cluster_options
@pass_settings
def doctor(settings: Settings) -> None:
    """Check whether this machine has what flame_remote needs.

    Ends with exit code 1 if a check found a problem.
    """
    from .doctor import report

    click.get_current_context().exit(report(settings))


@flame_remote.command()
@click.argument("file", type=_FILE)
@click.option("--pdb", is_flag=True, help="Open Python's debugger where the exception is raised.")
@debug_option
def replay(file: Path, pdb: bool) -> None:
    """Make a call again that failed, from a FILE of flame.save_failed_calls().

    Prints what the call returns. Replay only files that you trust: they contain code.
    """
    from .replaying import run_again

    click.get_current_context().exit(run_again(file, pdb=pdb))


@flame_remote.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what a shell needs to complete this command.

    For bash: eval "$(flame-remote completion bash)"
    """
    from .completing import print_script

    print_script(flame_remote, "flame-remote", shell)


def main() -> NoReturn:
    """Run as a program."""
    run(flame_remote, "flame-remote")
