"""What a block of code takes: CPU time, time, memory. Standard library only, for it runs beside every subject."""

import gc
import re
import time
import tracemalloc
from pathlib import Path
from statistics import median, quantiles
from typing import Self

_STATUS = Path("/proc/self/status")


def _memory(field: str) -> int:
    """The memory of this process in bytes; 0 where the system does not tell."""
    if not _STATUS.exists():
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", _STATUS.read_text())
    return int(found[1]) * 1024 if found else 0


class Meter:
    """Measures the block `with meter:`."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self.peak = 0
        """How far the memory of the process went beyond what it had before the block."""
        self.bytes = 0
        """What was held at `held()`, for a process that traces its memory."""
        self._first_cpu: list[float] = []
        self._first_wall: list[float] = []
        self._start_cpu = self._start_wall = 0.0
        self._start_memory = self._start_traced = 0

    def __enter__(self) -> Self:
        gc.collect()
        self._start_memory = _memory("VmRSS")
        self._start_traced = tracemalloc.get_traced_memory()[0]
        self._start_wall = time.perf_counter()
        self._start_cpu = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu = time.process_time() - self._start_cpu
        self.wall = time.perf_counter() - self._start_wall
        self.peak = max(_memory("VmHWM") - self._start_memory, 0)

    def first(self) -> None:
        """The first token of a stream is there."""
        self._first_cpu.append(time.process_time() - self._start_cpu)
        self._first_wall.append(time.perf_counter() - self._start_wall)

    def held(self) -> None:
        """All that is to be held is held now."""
        gc.collect()
        self.bytes = tracemalloc.get_traced_memory()[0] - self._start_traced

    def result(self) -> dict[str, float]:
        """What was measured; of many first tokens the median, and where the first and the last tenth of them came."""
        tenths = quantiles(self._first_wall, n=10) if len(self._first_wall) > 1 else [0.0] * 9
        return {
            "cpu": self.cpu,
            "wall": self.wall,
            "peak": self.peak,
            "bytes": self.bytes,
            "first": median(self._first_cpu) if self._first_cpu else 0.0,
            "first_wall": median(self._first_wall) if self._first_wall else 0.0,
            "first_early": tenths[0],
            "first_late": tenths[-1],
        }
