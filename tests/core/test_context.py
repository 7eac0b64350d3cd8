"""Which cluster is meant: every source, their order, and what is said about mistakes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flame_remote.core.context import FlameContext
from flame_remote.exceptions import ClusterError, FlameErrorCode

FULL = """\
current-context: main
contexts:
  - name: other
    cluster: {endpoint: "http://other:1"}
  - name: main
    cluster:
      endpoint: "https://flame.example:9000"
      token: secret
      tls:
        ca_file: "/etc/flame/ca.crt"
    cache:
      endpoint: "grpcs://cache.example:9001"
      storage: ~/shared
      tls:
        ca_file: "/etc/flame/cache-ca.crt"
    package:
      storage: "file:///packages"
      excludes: ["*.bin", "data/"]
    runner:
      template: gpurun
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the place of the file of settings, which is not there yet."""
    (tmp_path / ".flame").mkdir()
    return tmp_path / ".flame" / "flame.yaml"


def mistake_in(file: Path, text: str) -> str:
    """Return what is said about a file, without the file's name."""
    file.write_text(text)
    with pytest.raises(ClusterError) as caught:
        FlameContext.load()
    assert caught.value.code is FlameErrorCode.INVALID_CONFIG
    said = str(caught.value)
    assert said.startswith("~/.flame/flame.yaml, ")
    return said.removeprefix("~/.flame/flame.yaml, ")


# --- sources --------------------------------------------------------------------------------------


def test_without_any_settings_the_documented_defaults_hold() -> None:
    context = FlameContext.load()
    assert context.endpoint == "http://127.0.0.1:8080"
    assert context.cache_endpoint == "grpc://127.0.0.1:9090"
    assert context.runner_template == "flmrun"
    assert context.package_excludes == ()
    assert (context.token, context.cluster_ca_file, context.package_storage) == (None, None, None)
    assert set(context.origins.values()) == {"default"}


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n", "~\n"])
def test_an_empty_file_is_as_none(file: Path, content: str) -> None:
    file.write_text(content)
    assert FlameContext.load() == FlameContext()


def test_every_setting_of_the_file_is_taken_from_the_current_context(file: Path) -> None:
    file.write_text(FULL)
    assert FlameContext.load() == FlameContext(
        endpoint="https://flame.example:9000",
        cache_endpoint="grpcs://cache.example:9001",
        cache_storage=os.path.expanduser("~/shared"),
        cluster_ca_file="/etc/flame/ca.crt",
        cache_ca_file="/etc/flame/cache-ca.crt",
        package_storage="file:///packages",
        package_excludes=("*.bin", "data/"),
        runner_template="gpurun",
        token="secret",
    )


def test_each_value_knows_where_it_came_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(FULL)
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", "grpc://c:1")
    context = FlameContext.load(endpoint="e")
    assert context.origin("endpoint") == "the argument endpoint"
    assert context.origin("cache_endpoint") == "FLAME_CACHE_ENDPOINT"
    assert context.origin("token") == "~/.flame/flame.yaml: contexts[1].cluster.token"
    assert context.origin("package_excludes") == "~/.flame/flame.yaml: contexts[1].package.excludes"


def test_excludes_count_also_where_no_storage_is_named(file: Path) -> None:
    file.write_text("current-context: a\ncontexts: [{name: a, package: {excludes: [x]}}]\n")
    assert FlameContext.load().package_excludes == ("x",)


def test_the_environment_is_stronger_than_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(FULL)
    monkeypatch.setenv("FLAME_ENDPOINT", "http://e:1")
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", "grpc://c:2")
    monkeypatch.setenv("FLAME_CACHE_STORAGE", "/s")
    monkeypatch.setenv("FLAME_TOKEN", "t")
    context = FlameContext.load()
    assert (context.endpoint, context.cache_endpoint) == ("http://e:1", "grpc://c:2")
    assert (context.cache_storage, context.token) == ("/s", "t")


def test_arguments_are_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAME_ENDPOINT", "http://e:1")
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", "grpc://c:2")
    context = FlameContext.load(endpoint="a:3", cache_endpoint="b:4")
    assert (context.endpoint, context.cache_endpoint) == ("http://a:3", "grpc://b:4")


def test_the_ca_file_of_the_environment_fills_what_the_file_leaves_open(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(
        "current-context: a\ncontexts: [{name: a, cluster: {tls: {ca_file: /of/file}}}]\n"
    )
    monkeypatch.setenv("FLAME_CA_FILE", "/of/environment")
    context = FlameContext.load()
    assert (context.cluster_ca_file, context.cache_ca_file) == ("/of/file", "/of/environment")
    assert context.origin("cache_ca_file") == "FLAME_CA_FILE"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "CACHE_ENDPOINT", "CACHE_STORAGE", "CA_FILE", "TOKEN", "CONFIG"):
        monkeypatch.setenv(f"FLAME_{name}", "")
    assert FlameContext.load() == FlameContext()


def test_another_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("current-context: a\ncontexts: [{name: a, runner: {template: x}}]\n")
    assert FlameContext.load(path=file).runner_template == "x"
    monkeypatch.setenv("FLAME_CONFIG", "~/other.yaml")
    assert FlameContext.load().runner_template == "x"


@pytest.mark.parametrize("as_argument", [True, False])
def test_a_file_that_is_named_must_be_there(
    as_argument: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not as_argument:
        monkeypatch.setenv("FLAME_CONFIG", "/no/file")
    origin = "the argument path" if as_argument else "FLAME_CONFIG"
    with pytest.raises(ClusterError, match=rf"/no/file \(from {origin}\) is not there"):
        FlameContext.load(path="/no/file" if as_argument else None)


def test_settings_of_other_versions_are_let_alone(file: Path) -> None:
    file.write_text(
        "current-context: a\nlogging: x\ncontexts: [{name: a, cluster: {zone: 1}, fleet: {}}]\n"
    )
    assert FlameContext.load() == FlameContext()


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://host:1", "http://host:1"),
        ("https://host", "https://host:8080"),
        ("host", "http://host:8080"),
        ("host:1", "http://host:1"),
        ("flame://host:1", "http://host:1"),
        (" HTTP://host:1/ ", "http://host:1"),
        ("[::1]:1", "http://[::1]:1"),
        ("http://[::1]", "http://[::1]:8080"),
    ],
)
def test_addresses_of_clusters_may_be_short(written: str, meant: str) -> None:
    assert FlameContext.load(endpoint=written).endpoint == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("host", "grpc://host:9090"),
        ("grpcs://host:1", "grpcs://host:1"),
        ("grpc+tls://host", "grpcs://host:9090"),
        ("grpc+tcp://host", "grpc://host:9090"),
    ],
)
def test_addresses_of_caches_may_be_short(written: str, meant: str) -> None:
    assert FlameContext.load(cache_endpoint=written).cache_endpoint == meant


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("ftp://host", "it must begin with http://, https://"),
        ("http://", "there is no host"),
        ("", "there is no host"),
        ("http://host:port", "Port could not be cast"),
        ("http://host:99999", "Port out of range"),
        ("http://host/path", "only a host and a port may follow the scheme"),
        ("http://user@host", "only a host and a port may follow the scheme"),
    ],
)
def test_what_is_no_address_is_told_with_its_origin(written: str, reason: str) -> None:
    with pytest.raises(ClusterError) as caught:
        FlameContext.load(endpoint=written)
    assert str(caught.value).startswith(
        f"{written!r} (from the argument endpoint) is not an address such as http://127.0.0.1:8080"
    )
    assert reason in str(caught.value)
    assert caught.value.code is FlameErrorCode.INVALID_CONFIG


# --- mistakes in the file -------------------------------------------------------------------------

ONE = "current-context: a\ncontexts:\n  - name: a\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\n", "line 2: this is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c\n", "line 1: this is not YAML: mapping values are not allowed here"),
        ("- a\n", "line 1: the file must be keys and values, not a list"),
        ("text\n", "line 1: the file must be keys and values, not a text"),
        ("\ncontexts: []\n", "current-context must name one of the contexts; it has none"),
        (
            "contexts: [{name: a}, {name: b}]\n",
            "line 1: current-context must name one of the contexts; it has a, b",
        ),
        (
            "contexts: [{name: a}, {name: b}]\ncurrent-context: c\n",
            "line 2: current-context 'c' is none of the contexts; it has a, b",
        ),
        ("current-context: [a]\n", "line 1: current-context must be a text, not a list"),
        ("current-context: a\ncontexts: a\n", "line 2: contexts must be a list, not a text"),
        ("contexts:\n  - a\n", "line 2: contexts[0] must be keys and values"),
        ("contexts:\n  - cluster: {}\n", "line 2: contexts[0] has no name"),
        (
            "contexts:\n  - nmae: a\n",
            "line 2: contexts[0].nmae is not known; did you mean name?",
        ),
        ("current_context: a\n", "current_context is not known; did you mean current-context?"),
        (
            ONE + "    cluster: http://x\n",
            "line 4: contexts[0].cluster must be keys and values, not a text",
        ),
        (
            ONE + "    cluster:\n      endpiont: x\n",
            "line 5: contexts[0].cluster.endpiont is not known; did you mean endpoint?",
        ),
        (
            ONE + "    cluster:\n      endpoint:\n        - x\n",
            "line 6: contexts[0].cluster.endpoint must be a text, not a list",
        ),
        (
            ONE + "    cache:\n      tls: yes\n",
            "line 5: contexts[0].cache.tls must be keys and values, not a text",
        ),
        (
            ONE + "    package:\n      excludes: '*.pyc'\n",
            "line 5: contexts[0].package.excludes must be a list of texts, not a text",
        ),
        (
            ONE + "    package:\n      excludes:\n        - a\n        - {b: c}\n",
            "line 7: contexts[0].package.excludes must be a list of texts, not keys and values",
        ),
    ],
)
def test_a_mistake_is_told_with_file_and_line_and_what_was_expected(
    file: Path, text: str, said: str
) -> None:
    assert said in mistake_in(file, text)


def test_a_wrong_address_in_the_file_is_told_with_its_place(file: Path) -> None:
    file.write_text(ONE + "    cluster: {endpoint: 'ftp://x'}\n")
    with pytest.raises(ClusterError, match=r"from ~/.flame/flame.yaml: contexts\[0\].cluster.endp"):
        FlameContext.load()


def test_a_file_that_cannot_be_read_is_told(file: Path) -> None:
    file.mkdir()
    with pytest.raises(ClusterError, match=r"~/.flame/flame.yaml cannot be read: Is a directory"):
        FlameContext.load()


def test_a_file_that_is_no_text_is_told(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ClusterError, match=r"flame.yaml cannot be read: it is not UTF-8"):
        FlameContext.load()
