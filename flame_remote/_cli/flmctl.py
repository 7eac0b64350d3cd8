"""`flmctl`: look at a Flame cluster and change what is on it, in Flame's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NoReturn

import click

from flame_remote import __version__

from .ending import run
from .settings import Settings, cluster_options, one_of, pass_settings

_MOST: Final = (1 << 32) - 1  # of a u32
_NAMED: Final = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=_NAMED, no_args_is_help=False)
@click.version_option(__version__)
@cluster_options
def flmctl() -> None:
    """Look at a Flame cluster and change what is on it.

    The cluster is the one at --endpoint, else FLAME_ENDPOINT, else of the context in
    ~/.flame/flame.yaml, else http://127.0.0.1:8080.
    """


@flmctl.command(name="list")
@click.option("-a", "--application", is_flag=True, help="List applications.")
@click.option("-s", "--session", is_flag=True, help="List sessions, open ones first.")
@click.option("-e", "--executor", is_flag=True, help="List executors.")
@click.option("-n", "--node", is_flag=True, help="List nodes.")
@cluster_options
@pass_settings
def list_(settings: Settings, application: bool, session: bool, executor: bool, node: bool) -> None:
    """List what is on the cluster."""
    what = one_of(application=application, session=session, executor=executor, node=node)
    from . import looking

    looking.show_list(settings, what)


@flmctl.command()
@click.option("-a", "--application", metavar="NAME", help="View an application.")
@click.option("-s", "--session", metavar="ID", help="View a session.")
@click.option("-t", "--task", metavar="ID", help="View a task of the session.")
@click.option("-n", "--node", metavar="NAME", help="View a node.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), help="json is the same as --json."
)
@cluster_options
@pass_settings
def view(
    settings: Settings,
    application: str | None,
    session: str | None,
    task: str | None,
    node: str | None,
    output: str | None,
) -> None:
    """View one thing in detail.

    JSON of a session tells of its tasks too.
    """
    what = one_of(application=application, session=session, node=node)
    if task and not session:
        raise click.UsageError("-t/--task needs the task's session too: -s/--session")
    if output is not None:
        settings.json = output == "json"
    from . import looking

    if task and session:
        looking.view_task(settings, session, task)
    else:
        looking.VIEWS[what](settings, application or session or node or "")


@flmctl.command()
@click.option("-a", "--app", metavar="NAME", required=True, help="Its application.")
@click.option(
    "-p", "--priority", type=click.IntRange(0, _MOST), metavar="N", default=0, help="Default 0."
)
@click.option(
    "-r", "--resreq", metavar="TEXT", help="What each instance takes, as cpu=1,mem=2g,gpu=0."
)
@cluster_options
@pass_settings
def create(settings: Settings, app: str, priority: int, resreq: str | None) -> None:
    """Create a session."""
    from . import changing

    changing.create_session(settings, app, priority, resreq)


@flmctl.command()
@click.option("-s", "--session", metavar="ID", required=True, help="The session.")
@cluster_options
@pass_settings
def close(settings: Settings, session: str) -> None:
    """Close a session; its pending tasks are cancelled."""
    from . import changing

    changing.close_session(settings, session)


@flmctl.command()
@click.option("-f", "--file", metavar="FILE", required=True, help="YAML; - is standard input.")
@cluster_options
@pass_settings
def register(settings: Settings, file: str) -> None:
    """Register the applications that a file describes."""
    from . import changing

    changing.register(settings, file)


@flmctl.command()
@click.option(
    "-a",
    "--application",
    "-f",
    "--file",
    "file",
    metavar="FILE",
    required=True,
    help="YAML; - is standard input.",
)
@cluster_options
@pass_settings
def update(settings: Settings, file: str) -> None:
    """Replace the descriptions of applications by those in a file."""
    from . import changing

    changing.update(settings, file)


@flmctl.command()
@click.option("-a", "--application", metavar="NAME", required=True, help="The application.")
@cluster_options
@pass_settings
def unregister(settings: Settings, application: str) -> None:
    """Remove an application and its closed sessions."""
    from . import changing

    changing.unregister(settings, application)


def _pairs(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=VALUE options."""
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


@flmctl.command()
@click.option(
    "--application",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder, which may have a flame.yaml, or a .tar.gz archive.",
)
@click.option("--name", metavar="NAME", help="Default: metadata.name of flame.yaml.")
@click.option("--dry-run", is_flag=True, help="Store and register nothing.")
@click.option(
    "-o", "--output", type=click.Choice(["summary", "json"]), help="json is the same as --json."
)
@click.option(
    "--shim",
    type=click.Choice(["host", "wasm"], case_sensitive=False),
    help="Kind of its executors; default host.",
)
@click.option("--image", metavar="TEXT", help="Image of its executors.")
@click.option("--description", metavar="TEXT", help="For people.")
@click.option("--label", "labels", metavar="TEXT", multiple=True, help="A tag; may be repeated.")
@click.option("--command", metavar="TEXT", help="The program that instances run.")
@click.option(
    "--argument", "arguments", metavar="TEXT", multiple=True, help="Of it; may be repeated."
)
@click.option(
    "--env",
    "environments",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_pairs,
    help="May be repeated.",
)
@click.option("--working-directory", metavar="FOLDER", help="Of instances.")
@click.option(
    "--max-instances", type=click.IntRange(0, _MOST), metavar="N", help="Of all its sessions."
)
@click.option(
    "--delay-release",
    type=click.IntRange(0),
    metavar="SECONDS",
    help="How long an idle instance stays.",
)
@click.option(
    "--installer",
    type=click.Choice(["python", "binary"]),
    help="Default: python for what has a pyproject.toml or setup.py.",
)
@click.option("--schema-input", metavar="JSON", help="JSON Schema of inputs.")
@click.option("--schema-output", metavar="JSON", help="JSON Schema of outputs.")
@click.option("--schema-common-data", metavar="JSON", help="JSON Schema of common data.")
@cluster_options
@pass_settings
def deploy(
    settings: Settings,
    /,
    path: Path,
    name: str | None,
    dry_run: bool,
    output: str | None,
    **given: Any,
) -> None:
    """Pack an application, store the package, and register the application.

    The package goes to the object cache, or where package.storage of the configuration says.
    Options win over flame.yaml.
    """
    if output is not None:
        settings.json = output == "json"
    from . import deploying

    deploying.deploy(settings, path, name, deploying.spec_fields(given), dry_run=dry_run)


@flmctl.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what a shell needs to complete this command.

    For bash: eval "$(flmctl completion bash)"
    """
    from .completing import print_script

    print_script(flmctl, "flmctl", shell)


def main() -> NoReturn:
    """Run as a program."""
    run(flmctl, "flmctl")
