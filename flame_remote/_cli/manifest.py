"""Descriptions of applications in YAML, as `register -f` and `update` take them.

    metadata:
      name: crawler
    spec:
      command: python3
      arguments: [-m, crawler]

A file may hold several, parted by `---`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flame_remote._proto import types_pb2

from .ending import UserError
from .yaml_nodes import Place, read_documents

_MOST_UINT32: Final = (1 << 32) - 1
_MOST_INT64: Final = (1 << 63) - 1
_SHIMS: Final = {"host": types_pb2.Host, "wasm": types_pb2.Wasm}
_SCHEMAS: Final = ("input", "output", "common_data")


@dataclass(frozen=True)
class Manifest:
    """One application to be registered; `where` is its file and line."""

    name: str
    spec: types_pb2.ApplicationSpec
    where: str


def read_manifests(file: str) -> list[Manifest]:
    """Read all applications that a file describes; "-" is standard input.

    Raises:
        UserError: with file, line and what was expected there.
    """
    documents = read_documents(file)
    if not documents:
        raise UserError(f"{file} is empty; it must have `metadata:` and `spec:`")
    return [_manifest(document) for document in documents]


def _manifest(document: Place) -> Manifest:
    places = document.fields(("metadata", "spec"))
    metadata = _needed(places, "metadata", document).fields(("name",))
    name = _needed(metadata, "name", places["metadata"]).text()
    fields = _needed(places, "spec", document).fields(tuple(_FIELDS))
    values = {field: _FIELDS[field](place) for field, place in fields.items()}
    return Manifest(name, types_pb2.ApplicationSpec(**values), document.where)


def _needed(places: Mapping[str, Place], name: str, owner: Place) -> Place:
    try:
        return places[name]
    except KeyError:
        what = owner.path or "the document"
        raise UserError(f"{owner.where}: `{name}:` is missing or empty in {what}") from None


def _shim(place: Place) -> Any:
    try:
        return _SHIMS[place.text().lower()]
    except KeyError:
        raise place.wrong("Host or Wasm") from None


def _installer(place: Place) -> str:
    if place.text() not in ("python", "binary"):
        raise place.wrong("python or binary")
    return place.text()


def _folder(place: Place) -> str:
    if not place.text().startswith("/"):
        raise place.wrong("an absolute path")
    return place.text()


def _texts(place: Place) -> list[str]:
    return place.list_of(Place.text)


def _environments(place: Place) -> list[types_pb2.Environment]:
    return [
        types_pb2.Environment(name=name, value=value.text())
        for name, value in place.mapping().items()
    ]


def _schema(place: Place) -> types_pb2.ApplicationSchema:
    parts = {name: _json_schema(part) for name, part in place.fields(_SCHEMAS).items()}
    return types_pb2.ApplicationSchema(**parts)


def _json_schema(place: Place) -> str:
    try:
        json.loads(place.text())
    except ValueError:
        raise place.wrong("a JSON Schema document") from None
    return place.text()


_FIELDS: Final[Mapping[str, Callable[[Place], Any]]] = {
    "shim": _shim,
    "image": Place.text,
    "description": Place.text,
    "labels": _texts,
    "command": Place.text,
    "arguments": _texts,
    "environments": _environments,
    "working_directory": _folder,
    "max_instances": lambda place: place.whole_number(_MOST_UINT32),
    "delay_release": lambda place: place.whole_number(_MOST_INT64),
    "schema": _schema,
    "url": Place.text,
    "installer": _installer,
}
