"""Scripts that let a shell complete a command line."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class


def print_script(command: click.Command, program: str, shell: str) -> None:
    """Write the script for bash, zsh or fish to standard output."""
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    kind = get_completion_class(shell)
    assert kind is not None  # click knows all three
    sys.stdout.write(kind(command, {}, program, variable).source() + "\n")
