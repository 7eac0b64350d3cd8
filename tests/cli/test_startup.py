"""What every command does before, or without, asking a cluster."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner

from flame_remote._cli.flmctl import flmctl
from flame_remote._cli.local import flame_remote

from .conftest import ROOT, Commands, Inside, scripts

# Each would cost tens of milliseconds before `--help` or a completion is printed.
FORBIDDEN: Final = {
    "asyncio",
    "cloudpickle",
    "google.protobuf",
    "grpc",
    "importlib.metadata",
    "multiprocessing",
    "numpy",
    "psutil",
    "pyarrow",
    "bson",
    "wrapt",
    "yaml",
}
SHOW_MODULES: Final = """
import sys
sys.argv = [{program!r}, *{arguments!r}]
from {module} import {function}
try:
    {function}()
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""
PROGRAMS: Final = sorted(scripts())


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_loads_nothing_that_only_a_cluster_needs(program: str) -> None:
    module, function = scripts()[program]
    code = SHOW_MODULES.format(
        program=program, arguments=["--help"], module=module, function=function
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.startswith(f"Usage: {program} [OPTIONS]")
    assert set(done.stderr.split()) & FORBIDDEN == set()


@pytest.mark.parametrize("group", [flmctl, flame_remote], ids=lambda group: group.name)
def test_every_command_of_a_group_has_help(group: click.Group) -> None:
    for name, command in group.commands.items():
        for option in ("-h", "--help"):
            ended = CliRunner().invoke(group, [name, option], prog_name="program")
            assert ended.exit_code == 0
            assert ended.output.startswith(f"Usage: program {name} [OPTIONS]")
            assert command.get_short_help_str(limit=200) in ended.output


def test_the_version_is_that_of_the_package(inside: Inside) -> None:
    version = (ROOT / "pyproject.toml").read_text().partition('\nversion = "')[2].partition('"')[0]
    for program in PROGRAMS:
        assert inside(program, "--version").output == f"{program}, version {version}\n"


def test_python_m_is_the_command_of_the_package(commands: Commands) -> None:
    ended = commands(sys.executable, "-m", "flame_remote", "--help")
    assert ended.output == commands("flame-remote", "--help").output


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("flmctl", "flmctl: missing command; see `flmctl --help`\n"),
        ("flame-remote", "flame-remote: missing command; see `flame-remote --help`\n"),
        ("flmctl lsit", "flmctl: no such command 'lsit'"),
        ("flmctl list --nod", "flmctl list: no such option"),
        (
            "flmctl list",
            "flmctl list: one of -a/--application, -s/--session, -e/--executor or -n/--node is "
            "needed; see `flmctl list --help`",
        ),
        ("flmctl list -a -s", "flmctl list: only one of -a/--application, "),
        ("flmctl view -t 3", "flmctl view: one of -a/--application, -s/--session or -n/--node is "),
        ("flmctl view -n n1 -t 3", "flmctl view: -t/--task needs the task's session too: -s/"),
        ("flmctl view -a x -o yaml", "flmctl view: invalid value for '-o' / '--output': 'yaml' is"),
        ("flmctl create", "flmctl create: missing option '-a' / '--app'"),
        ("flmctl create -a x -p -1", "flmctl create: invalid value for '-p' / '--priority': -1 is"),
        ("flmctl list -a --timeout 0", "flmctl list: invalid value for '--timeout': 0.0 is not"),
        ("flmctl list -a --config no", "flmctl list: --config: there is no file no"),
        ("flmctl list -a --endpoint ftp://x", "'ftp://x' (from the argument endpoint) is not an"),
        ("flmctl list -a --context other", "flmctl list: there is no context 'other'"),
        ("flmctl create -a x -r cpu=many", "flmctl create: --resreq: resource requirement 'cpu=m"),
        ("flmctl register -f no.yaml", "flmctl register: cannot read no.yaml: No such file or dir"),
        ("flame-remote up --port 99999", "flame-remote up: invalid value for '--port': 99999 is "),
    ],
)
def test_wrong_usage_is_told_in_one_line(inside: Inside, command: str, said: str) -> None:
    ended = inside(*command.split())
    assert (ended.status, ended.output) == (2, "")
    assert said in ended.error
    assert ended.error.count("\n") == 1


def test_a_malformed_description_is_told_with_file_line_and_expectation(
    inside: Inside,
) -> None:
    text = "metadata:\n  name: x\nspec:\n  labels: y\n"
    ended = inside("flmctl", "register", "-f", "-", given=text)
    assert (ended.status, ended.output) == (2, "")
    assert ended.error == (
        "flmctl register: standard input, line 4: spec.labels must be a list "
        "(lines that begin with `- `), not 'y'\n"
    )


def test_a_malformed_configuration_is_told_with_file_and_line(inside: Inside) -> None:
    folder = inside.home / ".flame"
    folder.mkdir()
    (folder / "flame.yaml").write_text("current-context: flame\ncontexts:\n  - nmae: flame\n")
    ended = inside("flmctl", "list", "-a")
    assert (ended.status, ended.output) == (2, "")
    assert ended.error.startswith("flmctl list: ~/.flame/flame.yaml, line 3: ")
    assert "did you mean name?" in ended.error


def test_a_context_is_chosen_by_name(inside: Inside) -> None:
    file = inside.home / "mine.yaml"
    file.write_text(
        "current-context: one\ncontexts:\n"
        "  - {name: one, cluster: {endpoint: 'http://127.0.0.1:1'}}\n"
        "  - {name: two, cluster: {endpoint: 'http://127.0.0.1:2'}}\n"
    )
    for options, port in (([], 1), (["--context", "two"], 2)):
        ended = inside("flmctl", "list", "-a", "--config", str(file), *options)
        assert ended.status == 3
        assert f"127.0.0.1:{port} (from ~/mine.yaml: contexts[{port - 1}].cl" in ended.error


def test_nobody_at_the_endpoint_is_told_with_where_the_address_came_from(
    inside: Inside,
) -> None:
    here = "http://127.0.0.1:1"  # no program listens at port 1
    from_environment = replace(inside, environment={"FLAME_ENDPOINT": here})
    for run, options, origin in (
        (from_environment, [], "FLAME_ENDPOINT"),
        (inside, ["--endpoint", here], "--endpoint"),
    ):
        ended = run("flmctl", "list", "-a", *options)
        assert (ended.status, ended.output) == (3, "")
        assert ended.error.startswith(f"flmctl list: no Flame cluster answers at {here} (from ")
        assert f"(from {origin})" in ended.error
        assert "`flame-remote up`" in ended.error
        assert ended.error.count("\n") == 1


@pytest.mark.parametrize("program", ["flmctl", "flame-remote"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(inside: Inside, program: str, shell: str) -> None:
    ended = inside(program, "completion", shell)
    assert (ended.status, ended.error) == (0, "")
    assert f"_{program.upper().replace('-', '_')}_COMPLETE" in ended.output


def test_commands_and_options_are_completed(commands: Commands) -> None:
    asked = {"_FLMCTL_COMPLETE": "bash_complete", "COMP_CWORD": "1", "COMP_WORDS": "flmctl reg"}
    assert commands("flmctl", env=asked).output == "plain,register\n"
    asked |= {"COMP_CWORD": "2", "COMP_WORDS": "flmctl list --se"}
    assert commands("flmctl", env=asked).output == "plain,--session\n"


def test_output_that_nobody_reads_ends_a_command_quietly(commands: Commands) -> None:
    ended = commands.shell("flmctl --help | true; echo ${PIPESTATUS[@]}")
    assert (ended.output, ended.error) == ("141 0\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_output_that_cannot_be_written_is_told(commands: Commands) -> None:
    ended = commands.shell("flmctl --help > /dev/full; echo $?")
    assert ended.output == "1\n"
    assert ended.error == "flmctl: cannot write the output: No space left on device\n"


def test_text_that_the_terminal_cannot_show_is_escaped(commands: Commands) -> None:
    ended = commands(
        "flmctl", "register", "-f", "計.yaml", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    )
    assert ended.error.startswith("flmctl register: cannot read \\u8a08.yaml: ")
