"""Stock flamepy 0.6.0 and our client on one cache of ours: each reads what the other wrote."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flame_remote.core import objects
from flame_remote.core.objects import ObjectRef
from tests.caches import Cache

PEER = Path(__file__).parent / "flamepy_peer.py"
NAMES = ["plain", "large", "tensor", "fortran", "table", "empty table", "batch", "array"]

Call = Callable[..., Any]


@pytest.fixture(scope="module", params=["memory only", "shared folder"])
def flamepy(
    request: pytest.FixtureRequest,
    flamepy_python: Path,
    storing_cache: tuple[Cache, Path],
) -> Iterator[Call]:
    """Return a function that has flamepy, in a process of its own, do something."""
    cache, storage = storing_cache
    shared = {"FLAME_CACHE_STORAGE": str(storage)} if request.param == "shared folder" else {}
    home = {"HOME": str(storage.parent)}
    with subprocess.Popen(
        [flamepy_python, PEER],
        env={**os.environ, **cache.environment, **shared, **home},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def call(name: str, *arguments: Any) -> Any:
            to.write(json.dumps([name, *arguments]) + "\n")
            to.flush()
            return json.loads(back.readline())

        yield call
        to.close()


@pytest.fixture(scope="module")
def storing_cache(
    arrow: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cache, Path]]:
    from tests.caches import running_cache

    storage = tmp_path_factory.mktemp("cache") / "objects"
    with running_cache("--storage", str(storage)) as cache:
        yield cache, storage


@pytest.fixture
def cache(storing_cache: tuple[Cache, Path]) -> Cache:
    return storing_cache[0]


@pytest.fixture
def prefix() -> str:
    return f"both-{uuid.uuid4()}/session"


@pytest.fixture(scope="module")
def peer() -> types.ModuleType:
    """Return the peer's module, for its samples, without the flamepy that it imports."""
    stand_in = types.ModuleType("flamepy.core")
    stand_in.cache = None  # type: ignore[attr-defined]
    sys.modules["flamepy.core"] = stand_in
    spec = importlib.util.spec_from_file_location("flamepy_peer", PEER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    del sys.modules["flamepy.core"]
    return module


@pytest.mark.parametrize("name", NAMES)
def test_we_read_what_flamepy_wrote(
    flamepy: Call, cache: Cache, prefix: str, peer: types.ModuleType, name: str
) -> None:
    ref = ObjectRef(*flamepy("put", name, prefix))
    assert ref.version == 1
    assert peer.same(objects.get_object(ref, context=cache.context), peer.samples()[name])


@pytest.mark.parametrize("name", NAMES)
def test_flamepy_reads_what_we_wrote(
    flamepy: Call, cache: Cache, prefix: str, peer: types.ModuleType, name: str
) -> None:
    ref = objects.put_object(prefix, peer.samples()[name], context=cache.context)
    assert flamepy("is_sample", name, ref.encode().hex())
    assert flamepy("is_sample", name, ref.encode().hex())  # from what it remembers


def test_flamepy_reads_an_array_that_it_could_not_have_written(
    flamepy: Call, cache: Cache, prefix: str
) -> None:
    import numpy as np

    ref = objects.put_object(prefix, np.array(["text"]), context=cache.context)
    assert flamepy("error_of", ref.encode().hex()) == []


def test_refs_have_the_same_bytes(flamepy: Call) -> None:
    ref = ObjectRef("grpc://127.0.0.1:9090", "app/session/object", 7)
    assert flamepy("encoded", ref.endpoint, ref.key, ref.version) == ref.encode().hex()


def test_versions_and_patches_of_one_are_those_of_the_other(
    flamepy: Call, cache: Cache, prefix: str
) -> None:
    ref = objects.put_object(prefix, "base", context=cache.context)
    encoded = ref.encode().hex()
    assert flamepy("get_with_patches", encoded) == ["base", []]
    assert objects.patch_object(ref, "ours", context=cache.context).version == 2
    assert flamepy("get_with_patches", encoded) == ["base", ["ours"]]
    assert flamepy("patch", encoded, "theirs") == 3
    both = objects.get_object(ref, lambda base, patches: [base, patches], context=cache.context)
    assert both == ["base", ["ours", "theirs"]]
    assert flamepy("update", encoded, "new") == 4
    assert objects.get_object(ref, context=cache.context) == "new"
    assert objects.update_object(ref, "newest", context=cache.context).version == 5
    assert flamepy("get_with_patches", encoded) == ["newest", []]


def test_files_that_flamepy_uploads_can_be_downloaded(
    flamepy: Call, cache: Cache, prefix: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "package.tar.gz", tmp_path / "target"
    source.write_bytes(os.urandom(2_500_000))
    ref = ObjectRef(*flamepy("upload", f"{prefix}/package.tar.gz", str(source)))
    objects.download_object(ref, target, context=cache.context)
    assert target.read_bytes() == source.read_bytes()


def test_bytes_put_as_a_pickle_are_a_value_to_flamepy(
    flamepy: Call, cache: Cache, prefix: str, peer: types.ModuleType
) -> None:
    import pickle

    for name in ("plain", "large"):
        data = pickle.dumps(peer.samples()[name])
        ref = objects.put_bytes(prefix, data, pickled=True, context=cache.context)
        assert flamepy("is_sample", name, ref.encode().hex())


def test_what_flamepy_deletes_is_gone_and_it_is_told_so_by_a_key_error(
    flamepy: Call, cache: Cache, prefix: str
) -> None:
    ref = objects.put_object(prefix, "x", context=cache.context)
    flamepy("put", "plain", prefix)
    flamepy("delete", f"{prefix.partition('/')[0]}/*")
    assert objects.count_objects(prefix, context=cache.context).keys == 0
    assert "KeyError" in flamepy("error_of", ref.encode().hex())
