"""Descriptions of applications: what is read, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from flame_remote._cli.ending import UserError
from flame_remote._cli.manifest import read_manifests
from flame_remote._proto import types_pb2

FULL = """\
metadata:
  name: crawler
spec:
  shim: host
  image: none
  description: Reads pages
  labels: [web, demo]
  command: python3
  arguments: [-m, crawler, 1.10]
  environments:
    PORT: 8080
    VERBOSE: yes
    EMPTY: ""
  working_directory: /srv/crawler
  max_instances: 5
  delay_release: 30
  schema:
    input: '{"type": "string"}'
  url: file:///srv/crawler.tar.gz
  installer: python
"""


def mistake_in(text: str | bytes, folder: Path) -> str:
    """Return what is said about a file, with its name shortened."""
    file = folder / "app.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError) as caught:
        read_manifests(str(file))
    return str(caught.value).replace(str(file), "app.yaml")


def in_spec(line: str) -> str:
    return f"metadata:\n  name: x\nspec:\n  command: y\n  {line}\n"


def test_every_field_is_read_and_scalars_are_taken_as_written(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(FULL)
    (manifest,) = read_manifests(str(file))
    assert manifest.name == "crawler"
    assert manifest.spec == types_pb2.ApplicationSpec(
        shim=types_pb2.Host,
        image="none",
        description="Reads pages",
        labels=["web", "demo"],
        command="python3",
        arguments=["-m", "crawler", "1.10"],
        environments=[
            types_pb2.Environment(name="PORT", value="8080"),
            types_pb2.Environment(name="VERBOSE", value="yes"),
            types_pb2.Environment(name="EMPTY", value=""),
        ],
        working_directory="/srv/crawler",
        max_instances=5,
        delay_release=30,
        schema=types_pb2.ApplicationSchema(input='{"type": "string"}'),
        url="file:///srv/crawler.tar.gz",
        installer="python",
    )


def test_what_is_empty_is_not_set(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("metadata: {name: x}\nspec: {url: , labels: ~, image: null}\n")
    (manifest,) = read_manifests(str(file))
    assert manifest.spec == types_pb2.ApplicationSpec()


def test_a_file_may_hold_several(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("metadata: {name: a}\nspec: {}\n---\n---\nmetadata: {name: b}\nspec: {}\n")
    manifests = read_manifests(str(file))
    assert [manifest.name for manifest in manifests] == ["a", "b"]
    assert [manifest.where.rpartition(", ")[2] for manifest in manifests] == ["line 1", "line 5"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "app.yaml is empty; it must have `metadata:` and `spec:`"),
        (
            "- a\n",
            "line 1: the document must be a mapping (lines such as `name: value`), not a list",
        ),
        ("spec: {}\n", "app.yaml, line 1: `metadata:` is missing or empty in the document"),
        (
            "metadata: {name: x}\nspec:\n",
            "app.yaml, line 1: `spec:` is missing or empty in the document",
        ),
        ("spec: {}\nmetadata: {}\n", "app.yaml, line 2: `name:` is missing or empty in metadata"),
        ("metadata:\n  nmae: x\n", "line 2: metadata has no field 'nmae' (did you mean 'name'?)"),
        (in_spec("comand: y"), "line 5: spec has no field 'comand' (did you mean 'command'?)"),
        (in_spec("labels: y"), "line 5: spec.labels must be a list (lines that begin with `- `)"),
        (in_spec("labels: [a, {b: c}]"), "line 5: spec.labels[1] must be text, not a mapping"),
        (in_spec("url: [a]"), "line 5: spec.url must be text, not a list"),
        (in_spec("command: y"), "line 5: spec.command is there twice"),
        (in_spec("shim: docker"), "line 5: spec.shim must be Host or Wasm, not 'docker'"),
        (in_spec("installer: pip"), "spec.installer must be python or binary, not 'pip'"),
        (in_spec("working_directory: a"), "spec.working_directory must be an absolute path"),
        (in_spec("max_instances: -1"), "must be a whole number, 0 to 4294967295, not '-1'"),
        (in_spec("delay_release: 1m"), "spec.delay_release must be a whole number"),
        (in_spec("environments: [A=b]"), "spec.environments must be a mapping"),
        (in_spec("schema: {input: '{'}"), "spec.schema.input must be a JSON Schema document"),
        (in_spec("<<: {a: b}"), "line 5: spec has no field '<<'"),
        ("a: [1", "app.yaml, line 1 is not YAML: expected ',' or ']'"),
        ("a: b\n\tc: d\n", "app.yaml, line 2 is not YAML: found character '\\t'"),
        (b"\xff\xfe\x00", "app.yaml is not YAML"),
        ("[" * 5000, "app.yaml cannot be read: it is nested too deeply"),
        ("!!python/object/apply:os.abort []", "the document must be a mapping"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_was_expected(
    text: str | bytes, said: str, tmp_path: Path
) -> None:
    assert said in mistake_in(text, tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*missing\.yaml: No such file"):
        read_manifests(str(tmp_path / "missing.yaml"))
