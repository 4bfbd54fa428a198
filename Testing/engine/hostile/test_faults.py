"""Killed runs: nothing half-written is read as whole, no process stays, the next start clears the temporary files."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import faults

from cnsifusion.imaging import temporary_folder, write_text

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="POSIX signals and /proc")


def test_temporary_files_of_dead_processes_go_and_others_stay(tmp_path) -> None:
    code = (
        "import sys, os, signal; from cnsifusion.imaging import temporary_folder, atomic_path\n"
        "(temporary_folder(sys.argv[1]) / 'a').write_text('half')\n"
        "with atomic_path(sys.argv[1] + '/b.nii.gz') as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(faults.leftovers(tmp_path)) == 2
    code = "import sys; from cnsifusion.imaging import temporary_folder; print(temporary_folder(sys.argv[1])); input()"
    living = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    kept = Path(living.stdout.readline().strip())
    assert faults.leftovers(tmp_path) == [kept.name]  # its start swept the dead one's
    other_host = tmp_path / ".cnsifusion-00000000-1-recent.json"
    old_host = tmp_path / ".cnsifusion-00000000-1-old.json"
    strange = tmp_path / ".cnsifusion-notes.txt"
    for path in (other_host, old_host, strange):
        path.write_text("x")
    os.utime(old_host, (time.time() - 30 * 86400,) * 2)
    write_text("x", tmp_path / "c.json")
    mine = temporary_folder(tmp_path)
    assert set(faults.leftovers(tmp_path)) == {kept.name, other_host.name, strange.name, mine.name}
    living.communicate("\n", timeout=30)


def test_killed_analyses_leave_nothing_half(simulated_image, tmp_path) -> None:
    rng, out = random.Random(1), tmp_path / "out"
    for _ in range(3):
        child = faults.start("analyze", simulated_image, "-o", out, "--progress", "jsonl")
        faults.kill_at_random(child, rng, 1.0)
        assert faults.problems_of(out) == []
        assert faults.processes_of_session(child.pid) == []
    child = faults.start("analyze", simulated_image, "-o", out, "--progress", "jsonl")
    last = json.loads(child.communicate(timeout=300)[0].splitlines()[-1])
    assert last["event"] == "done" and faults.problems_of(out) == [] and faults.leftovers(out) == []


def test_worker_ends_with_its_parent(simulated_image, tmp_path) -> None:
    request = json.dumps({"id": 1, "command": "analyze", "image": str(simulated_image), "out": str(tmp_path / "out")})
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({[*faults.CLI, 'worker']!r}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n"
        f"child.stdin.write({(request + chr(10)).encode()!r}); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    parent.stdout.readline()
    time.sleep(2)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 240
    while faults.processes_of_session(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert faults.processes_of_session(parent.pid) == []
    assert faults.problems_of(tmp_path / "out") == []
