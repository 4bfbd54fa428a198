"""Killed runs: nothing half-written is read as whole, no process stays, the next start clears the temporary files."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import faults

from cnsifusion.bundles import default_bundle_dir, load_bundle, write_bundle
from cnsifusion.errors import BadInput, BundleError
from cnsifusion.imaging import temporary_folder, write_text

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="POSIX signals and /proc")


def test_temporary_files_of_dead_processes_go_and_others_stay(tmp_path, monkeypatch) -> None:
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
    other_user = tmp_path / f"{kept.name.rsplit('-', 2)[0]}-1-of-root.json"
    for path in (other_host, old_host, strange, other_user):
        path.write_text("x")
    for path, days in ((other_host, 6), (old_host, 8)):
        os.utime(path, (time.time() - days * 86400,) * 2)
    kill = os.kill

    def of_a_user(pid: int, number: int) -> None:
        if pid == 1:
            raise PermissionError
        kill(pid, number)

    monkeypatch.setattr(os, "kill", of_a_user)
    write_text("x", tmp_path / "c.json")
    mine = temporary_folder(tmp_path)
    assert set(faults.leftovers(tmp_path)) == {p.name for p in (kept, other_host, strange, other_user, mine)}
    living.communicate("\n", timeout=30)


def test_killed_analyses_leave_nothing_half(simulated_image, tmp_path) -> None:
    rng, out = random.Random(1), tmp_path / "out"
    for _ in range(3):
        run = faults.Run("analyze", simulated_image, "-o", out, "--progress", "jsonl")
        run.kill_at_random(rng, 1.0)
        assert faults.problems_of(out) == []
        assert run.orphans() == []
    last = faults.Run("analyze", simulated_image, "-o", out, "--progress", "jsonl").last_event()
    assert last["event"] == "done" and faults.problems_of(out) == [] and faults.leftovers(out) == []


def test_orphans_are_found_wherever_they_are() -> None:
    """The soak's own eye: a grandchild in a session of its own outlives its parent and is seen (and ended)."""
    sleep = "import time; time.sleep(600)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleep!r}], start_new_session=True)"
    run = faults.Run(command=[sys.executable, "-c", code])
    run.process.wait(30)
    assert len(run.orphans(seconds=0.5)) == 1
    assert run.orphans() == []


def test_a_killed_replacement_of_a_bundle_loses_nothing(tmp_path) -> None:
    """At any moment of replacing a bundle there is the old or the new one, and the next writing cleans up."""
    target, waiting = tmp_path / "bundle", tmp_path / ".bundle.replaced"
    shutil.copytree(default_bundle_dir(), waiting)  # killed between the two renamings
    settings = load_bundle(waiting).settings
    contents = {name: (waiting / name).read_bytes() for name in settings.files}
    with pytest.raises(BundleError):
        write_bundle(target, replace(settings, region="liver"), contents)
    assert load_bundle(target).settings == settings and not waiting.exists()
    shutil.copytree(target, waiting)  # killed before the old one was removed
    write_bundle(target, settings, contents)
    assert load_bundle(target).settings == settings and sorted(p.name for p in tmp_path.iterdir()) == ["bundle"]


def test_a_bundle_never_takes_the_place_of_anything_else(tmp_path) -> None:
    """``train cohort/manifest.csv -o cohort`` would have cost the cohort, ``-o report.pdf`` the report."""
    settings = load_bundle(default_bundle_dir()).settings
    contents = {name: (default_bundle_dir() / name).read_bytes() for name in settings.files}
    cohort, file = tmp_path / "cohort", tmp_path / "report.pdf"
    cohort.mkdir()
    (cohort / "manifest.csv").write_text("the only copy")
    file.write_text("mine")
    for target in (cohort, file):
        with pytest.raises(BadInput, match=r"other files|a file has its name"):
            write_bundle(target, settings, contents)
    assert (cohort / "manifest.csv").read_text() == "the only copy" and file.read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cohort", "report.pdf"]
    (tmp_path / "empty").mkdir()
    for target in ("empty", "new", "new"):
        assert load_bundle(write_bundle(tmp_path / target, settings, contents)).settings == settings


def test_worker_ends_with_its_parent(simulated_image, tmp_path) -> None:
    request = json.dumps({"id": 1, "command": "analyze", "image": str(simulated_image), "out": str(tmp_path / "out")})
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({[*faults.CLI, 'worker']!r}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n"
        f"child.stdin.write({(request + chr(10)).encode()!r}); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    run = faults.Run(command=[sys.executable, "-c", code])
    run.process.stdout.readline()
    time.sleep(2)
    run.kill()
    assert run.orphans(240) == []
    assert faults.problems_of(tmp_path / "out") == []


@pytest.mark.parametrize("how", ["tasks", "simulate"])
def test_helpers_end_with_a_killed_run(how, tmp_path) -> None:
    """The processes of --jobs 2, waiting for their next task or in the middle of one."""
    people = ["--patients", "40", "--controls", "40", "--seed", "1", "--view", "deep"]
    words = ["simulate", tmp_path, *people, "--jobs", "2"]
    command = faults.CLI
    if how == "tasks":
        pytest.importorskip("torch")
        code = "import time; from cnsifusion.training.tasks import run_tasks; run_tasks(time.sleep, [99, 99], jobs=2)"
        words, command = [], [sys.executable, "-c", code]
    run = faults.Run(*words, command=command)
    end = time.monotonic() + 120
    while len(run.family()) < 3 and time.monotonic() < end:
        time.sleep(0.2)
    assert len(run.family()) >= 3
    time.sleep(5)  # helpers import and take their first task
    run.kill()
    assert not run.orphans(20)
