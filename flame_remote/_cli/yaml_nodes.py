"""YAML read so that every mistake can be told with its file and line.

Scalars are taken as they are written: `8080`, `1.10` and `yes` are the texts that stand there. What
is empty, `~` or `null` counts as not given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from flame_remote._options import nearest

from .ending import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A value in a YAML file; `path` says where, as "spec.labels[0]"; "" for the document."""

    file: str
    path: str
    node: yaml.Node

    @property
    def where(self) -> str:
        """The file and the line, counted from 1."""
        return f"{self.file}, line {self.node.start_mark.line + 1}"

    def wrong(self, expected: str) -> UserError:
        """Return the error that this value is not what was expected."""
        what = self.path or "the document"
        return UserError(f"{self.where}: {what} must be {expected}, not {self._shown()}")

    def _shown(self) -> str:
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        value = self.node.value
        return repr(value if len(value) <= 40 else value[:40] + "...") if value else "empty"

    @property
    def given(self) -> bool:
        """False for what is empty, `~` or `null`."""
        return self.node.tag != "tag:yaml.org,2002:null"

    def text(self, expected: str = "text") -> str:
        """Return a scalar as it is written. Raises UserError."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.given:
            raise self.wrong(expected)
        return str(self.node.value)

    def whole_number(self, most: int) -> int:
        """Return a whole number from 0 to `most`. Raises UserError."""
        expected = f"a whole number, 0 to {most}"
        try:
            value = int(self.text(expected))
        except ValueError:
            raise self.wrong(expected) from None
        if not 0 <= value <= most:
            raise self.wrong(expected)
        return value

    def list_of(self, read: Callable[[Place], T]) -> list[T]:
        """Return a list, each item read by `read`. Raises UserError."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.wrong("a list (lines that begin with `- `)")
        return [
            read(Place(self.file, f"{self.path}[{number}]", node))
            for number, node in enumerate(self.node.value)
        ]

    def mapping(self) -> dict[str, Place]:
        """Return a mapping's values by name, without those not given. Raises UserError."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong("a mapping (lines such as `name: value`)")
        places: dict[str, Place] = {}
        for key, node in self.node.value:
            prefix = f"{self.path}." if self.path else ""
            name = Place(self.file, f"a name in {self.path or 'the document'}", key).text()
            place = Place(self.file, prefix + name, node)
            if name in places:
                raise UserError(f"{Place(self.file, '', key).where}: {place.path} is there twice")
            places[name] = place
        return {name: place for name, place in places.items() if place.given}

    def fields(self, known: Collection[str]) -> Mapping[str, Place]:
        """Return a mapping whose names must be among the known ones. Raises UserError."""
        places = self.mapping()
        for name, place in places.items():
            if name not in known:
                owner = self.path or "the document"
                raise UserError(
                    f"{place.where}: {owner} has no field {name!r}{nearest(name, known)}; "
                    f"fields: {', '.join(known)}"
                )
        return places


def read_documents(file: str) -> list[Place]:
    """Read a file's documents, without empty ones. "-" is standard input.

    Raises:
        UserError: the file cannot be read or is not YAML.
    """
    try:
        if file == "-":
            text, file = sys.stdin.buffer.read(), "standard input"
        else:
            with open(file, "rb") as stream:
                text = stream.read()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from None
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        raise UserError(_syntax_error(file, error)) from None
    except yaml.YAMLError as error:  # bytes that are no text
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{file} cannot be read: it is nested too deeply") from None
    documents = [Place(file, "", node) for node in nodes if node is not None]
    return [document for document in documents if document.given]


def _syntax_error(file: str, error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}" if mark is not None else ""
    context = f" {error.context}" if error.context else ""
    return f"{file}{line} is not YAML: {error.problem or 'it cannot be read'}{context}"
