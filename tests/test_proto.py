"""The generated stubs are those of protos/, and keep to themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STUBS = ROOT / "flame_remote" / "_proto"


def test_the_stubs_are_what_the_proto_files_generate(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "protos" / "generate.py", tmp_path], check=True, timeout=50
    )
    generated = {path.name: path.read_text() for path in tmp_path.iterdir()}
    checked_in = {path.name: path.read_text() for path in STUBS.glob("*_pb2*")}
    assert generated == checked_in


def test_the_messages_are_not_in_the_pool_that_flamepy_uses() -> None:
    code = (
        "from flame_remote._proto import frontend_pb2, shim_pb2\n"
        "from google.protobuf import descriptor_pool\n"
        "try:\n"
        "    descriptor_pool.Default().FindFileByName('types.proto')\n"
        "except KeyError:\n"
        "    print('private')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=50, capture_output=True, text=True
    )
    assert done.stdout == "private\n"
