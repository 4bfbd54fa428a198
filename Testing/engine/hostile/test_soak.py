"""The soak's own machinery still runs: one section a few times, as `make soak ARGS="storage --quick"` does."""

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).resolve().parents[2] / "soak.py"


def test_a_section_of_the_soak_runs_and_finds_nothing():
    command = [sys.executable, str(SOAK), "storage", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("storage")]
    assert line.split()[-3:] == ["3", "3", "0"], line
