"""Keep the cores awake while latency is measured; else an idle virtual core measures its host."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DMA_LATENCY: Final = "/dev/cpu_dma_latency"

# One per core, below everything else; ends with its parent.
SPINNER: Final = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(19)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


@contextmanager
def awake_cores() -> Iterator[str]:
    """Hold the cores awake; the value says by what, "dma_latency" or "spinners"."""
    try:
        device = os.open(DMA_LATENCY, os.O_WRONLY)
    except OSError:  # no such device, or not ours to open
        with _spinners():
            yield "spinners"
        return
    try:
        os.write(device, struct.pack("i", 0))  # microseconds; holds while the file is open
        yield "dma_latency"
    finally:
        os.close(device)


@contextmanager
def _spinners() -> Iterator[None]:
    cores = sorted(os.sched_getaffinity(0))
    spinners = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", SPINNER, str(core)]) for core in cores
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
