"""A YAML file of settings, read so that every mistake can be told with its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from flame_remote.exceptions import ClusterError, FlameErrorCode

_KINDS: Final = {
    yaml.MappingNode: "keys and values",
    yaml.SequenceNode: "a list",
    yaml.ScalarNode: "a text",
}


class Section:
    """The keys and values at one place of a settings file; `path` names the place.

    Values are taken with `text`, `texts`, `section` and `sections`, each of which raises
    ClusterError (INVALID_CONFIG) with file, line and expectation if the value is of another kind,
    and returns nothing for a key that is not there or has no value.
    """

    def __init__(self, file: str, path: str, node: yaml.MappingNode) -> None:
        self._file = file
        self.path = path
        self._line = _line(node)
        self._nodes: Mapping[str, yaml.Node] = {
            str(key.value): value for key, value in node.value if not _is_null(value)
        }
        self._key_lines: Mapping[str, int] = {str(key.value): _line(key) for key, _ in node.value}

    def text(self, key: str) -> str | None:
        """Return the text at `key`; a number counts as the text that stands there."""
        node = self._nodes.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            raise self._of_another_kind(node, key, "a text")
        return str(node.value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return the list of texts at `key`."""
        node = self._nodes.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.SequenceNode):
            raise self._of_another_kind(node, key, "a list of texts")
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode) or _is_null(item):
                raise self._of_another_kind(item, key, "a list of texts")
        return tuple(str(item.value) for item in node.value)

    def section(self, key: str) -> Section | None:
        """Return the section at `key`."""
        node = self._nodes.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.MappingNode):
            raise self._of_another_kind(node, key, "keys and values")
        return Section(self._file, self._at(key), node)

    def sections(self, key: str) -> tuple[Section, ...]:
        """Return the sections of the list at `key`."""
        node = self._nodes.get(key)
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            raise self._of_another_kind(node, key, "a list")
        return tuple(self._items(key, node))

    def check_keys(self, *known: str) -> None:
        """Raise for a key that looks like a misspelt one of the known; others may be Flame's."""
        for key, line in self._key_lines.items():
            if key in known:
                continue
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
            if near and near[0] not in self._key_lines:
                raise self.error(f"{self._at(key)} is not known; did you mean {near[0]}?", line)

    def where(self, key: str) -> str:
        """Name the place of a value, for people: "flame.yaml: contexts[0].cluster.endpoint"."""
        return f"{self._file}: {self._at(key)}"

    def error(self, what: str, line: int | None = None) -> ClusterError:
        """Return an error about this section, or about another line of the same file."""
        return _error(self._file, line or self._line, what)

    def error_at(self, key: str, what: str) -> ClusterError:
        """Return an error about the value at `key`."""
        return self.error(f"{self._at(key)} {what}", self._key_lines.get(key))

    def _items(self, key: str, node: yaml.Node) -> Iterator[Section]:
        for number, item in enumerate(node.value):
            path = f"{self._at(key)}[{number}]"
            if not isinstance(item, yaml.MappingNode):
                raise _error(self._file, _line(item), f"{path} must be keys and values")
            yield Section(self._file, path, item)

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _of_another_kind(self, node: yaml.Node, key: str, expected: str) -> ClusterError:
        found = "nothing" if _is_null(node) else _KINDS[type(node)]
        return self.error(f"{self._at(key)} must be {expected}, not {found}", _line(node))


def read_settings(file: Path) -> Section | None:
    """Read a YAML file; None if it is not there, or empty.

    Raises:
        ClusterError: INVALID_CONFIG; the file cannot be read, is no YAML, or is not made of keys
            and values.
    """
    name = _short(file)
    try:
        content = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"
        raise ClusterError(
            f"{name} cannot be read: {reason}", FlameErrorCode.INVALID_CONFIG
        ) from error
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _error(name, line, f"this is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise _error(name, 1, f"this is not YAML: {error}") from error
    if node is None or _is_null(node):
        return None
    if not isinstance(node, yaml.MappingNode):
        raise _error(
            name, _line(node), f"the file must be keys and values, not {_KINDS[type(node)]}"
        )
    return Section(name, "", node)


def _short(file: Path) -> str:
    """Name a file below the home folder with "~", as people write it."""
    try:
        return f"~/{file.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(file)


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _error(file: str, line: int, what: str) -> ClusterError:
    return ClusterError(f"{file}, line {line}: {what}", FlameErrorCode.INVALID_CONFIG)
