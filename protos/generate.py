"""Generate `flame_remote/_proto` from the .proto files beside this script.

    python protos/generate.py [FOLDER]

Needs grpcio-tools. The messages go into a descriptor pool of our own: flamepy registers files of
the same names in the default one, and both can so be imported in one process.
"""

from __future__ import annotations

import re
import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "flame_remote" / "_proto"


def generate(folder: Path) -> None:
    """Write the stubs of all .proto files into `folder`."""
    files = sorted(path.name for path in HERE.glob("*.proto"))
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={HERE}",
            f"--proto_path={resources.files('grpc_tools') / '_proto'}",
            f"--python_out={folder}",
            f"--pyi_out={folder}",
            f"--grpc_python_out={folder}",
            *files,
        ]
    )
    if status != 0:
        raise SystemExit(status)
    for path in folder.glob("*_pb2*.py*"):
        text = path.read_text()
        if "Stub" not in text and path.name.endswith("_pb2_grpc.py"):
            path.unlink()  # no service in that file
            continue
        path.write_text(made_private(text))


def made_private(text: str) -> str:
    """Make generated code import relatively, and use the pool of our own."""
    text = re.sub(r"^import (\w+_pb2) as", r"from . import \1 as", text, flags=re.M)
    return text.replace(
        "from google.protobuf import descriptor_pool as _descriptor_pool",
        "from . import _pool as _descriptor_pool",
    )


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
