"""Coverage-guided fuzzing (atheris), every target in a process of its own with a bound on time and memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from soak import OUTPUT, ROOT, Row, Soak

#: Executions of each target in all: what its speed allows in about half an hour.
TARGETS = {"worker": 1_000_000, "result": 200_000, "graph": 200_000, "bundle": 100_000, "manifest": 100_000,
           "regions": 100_000}  # fmt: skip
_STEP = 20_000


def fuzz(soak: Soak) -> None:
    """The targets in turn, each going on from the inputs that former runs kept."""
    waiting = {t: soak.row(f"fuzzing of {t}, executions", wanted, 500) for t, wanted in TARGETS.items()}
    while waiting:
        for target, row in list(waiting.items()):
            corpus = (soak.folder if soak.quick else OUTPUT / "corpus") / target
            corpus.mkdir(parents=True, exist_ok=True)
            if not (soak.more(row) and _step(soak, row, target, corpus)):
                del waiting[target]


def _step(soak: Soak, row: Row, target: str, corpus: Path) -> bool:
    """Some executions; False when there is no going on."""
    found = soak.folder / f"found-{target}"
    found.mkdir(exist_ok=True)
    run = [sys.executable, str(ROOT / "Testing" / "fuzz.py"), target, str(corpus), "-max_len=16384", "-timeout=30",
           f"-runs={min(_STEP, row.wanted - row.tried)}", "-rss_limit_mb=4096", f"-artifact_prefix={found}/",
           "-max_total_time=60", f"-seed={soak.rng.randrange(1, 2**31)}"]  # fmt: skip
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if "atheris is missing" in done.stderr:
        row.note = "SKIPPED: pip install atheris (Linux, Python 3.11 to 3.13)"
        return False
    executed = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("Done ")]
    row.tried += int(executed[0]) if executed else 0
    row.note = ""
    if done.returncode or not executed:
        row.failures.append(" | ".join(done.stderr.strip().splitlines()[-12:])[:1500])
        kept = OUTPUT / "found" / target
        if not soak.quick:
            shutil.copytree(found, kept, dirs_exist_ok=True)
        return False
    return True
