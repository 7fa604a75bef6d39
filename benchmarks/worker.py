"""Does one work in this process and prints what it took: `python -m benchmarks.worker import STATEMENT`, or `work JOB`.

Nothing is imported at the top that a subject might import too: what is there already would cost it nothing.
"""

import sys
import time
from typing import Any


def measure_import(statement: str) -> dict[str, float]:
    """What an import statement takes in this fresh process."""
    wall, cpu = time.perf_counter(), time.process_time()
    exec(statement, {})
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def measure_work(job: dict[str, Any]) -> dict[str, float]:
    """What a work takes, after a small one of its kind has warmed up the process."""
    import asyncio
    import importlib
    import tracemalloc

    from benchmarks.meter import Meter

    work = getattr(importlib.import_module(f"benchmarks.subjects.{job['subject']}"), job["work"])
    meter = Meter()

    async def main() -> None:
        await work(Meter(), **job["warm_up"])  # in the same loop, to which some subjects bind their clients for ever
        if job["traced"]:
            tracemalloc.start()
        await work(meter, **job["sizes"])

    asyncio.run(main())
    return meter.result()


def main() -> None:
    """The command."""
    kind, what = sys.argv[1:]
    imported = measure_import(what) if kind == "import" else None
    import json

    result = imported or measure_work(json.loads(what))
    sys.stdout.write(f"\n{json.dumps(result)}\n")  # on a line of its own, whatever a subject has printed


if __name__ == "__main__":
    main()
