"""kill -9 at random moments: nothing half, no orphans, and the resumed work equals the uninterrupted to the bit."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import faults
from soak import Row, Soak

from cnsifusion.simulation import SimulationSettings, simulate_cohort
from cnsifusion.simulation.settings import SiteProtocol

#: Small enough to train in seconds, with every stage of the big run: cases, backbone, maps, folds, graphs.
_SETTINGS = {"folds": 2, "inner_folds": 2, "checkpoints": [2], "selectors": ["mrmr"], "feature_counts": [4],
             "bootstrap": 20, "augmentations": 1}  # fmt: skip
#: A worker is killed after so many lines at most: two analyses or so.
_LINES = 20


def analyses(soak: Soak) -> None:
    """Analyses into one and the same folder, the last one undisturbed."""
    row, out, steps = soak.row("kill -9 of 'analyze'", 100, 3), soak.folder / "out", Counter()
    whole = _analyzed(row, soak.small, soak.folder / "whole")
    while soak.more(row):
        run = faults.Run("analyze", soak.small, "-o", out, "--progress", "jsonl")
        steps[run.kill_at_random(soak.rng, 1.0)] += 1
        _count(row, [*faults.problems_of(out), *_stayed(run)])
        if row.tried % 10 == 0 or row.tried >= row.wanted:
            _compare(row, whole, _analyzed(row, soak.small, out), out)
    row.note = f"{len(steps)} different steps hit"


def workers(soak: Soak) -> None:
    """A worker that analyzes again and again (its second request is warm, so that kills meet the writing too)."""
    row, out = soak.row("kill -9 of 'worker'", 100, 3), soak.folder / "out"
    whole = _analyzed(row, soak.small, soak.folder / "whole")
    request = json.dumps({"id": 1, "command": "analyze", "image": str(soak.small), "out": str(out)}) + "\n"
    while soak.more(row):
        run = faults.Run("worker", stdin=subprocess.PIPE)
        run.process.stdin.write(request * _LINES)  # at least one line each: the wait for one never lasts for ever
        run.process.stdin.flush()
        run.kill_at_random(soak.rng, 1.0, _LINES)
        _count(row, [*faults.problems_of(out), *_stayed(run)])
        if row.tried % 10 == 0 or row.tried >= row.wanted:
            _compare(row, whole, _analyzed(row, soak.small, out), out)


def cohorts(soak: Soak) -> None:
    """'cohort features', killed and resumed until done, again and again: the same table as undisturbed."""
    manifest = _manifest(soak.folder / "in", 2, "deep")
    row = soak.row("kill -9 of 'cohort features --jobs 2 --resume'", 100, 2)
    words = ["cohort", "features", manifest, "--jobs", "2", "--progress", "jsonl", "--resume", "-o"]
    whole, killed = soak.folder / "whole", soak.folder / "killed"
    _undisturbed(row, *words, killed / "table.csv")
    killed.rename(whole)  # made in the same place: caches hold paths
    killed.mkdir()
    while soak.more(row):
        run = faults.Run(*words, killed / "table.csv")
        run.kill_at_random(soak.rng, 3.0, 4)
        _count(row, [*faults.cache_problems(killed), *_stayed(run)])
        ready = len(list(killed.rglob("cases/*.npz"))) == len(list(whole.rglob("cases/*.npz")))
        if ready or row.tried % 10 == 0 or row.tried >= row.wanted:
            _undisturbed(row, *words, killed / "table.csv")
            _finished(row, whole, killed, keep_half=soak.rng.random() < 0.5)


def trainings(soak: Soak) -> None:
    """'train' of a whole network, killed and resumed until done: the same caches and the same bundle as undisturbed."""
    manifest = _manifest(soak.folder / "in", 4, "head")  # two outer and two inner folds need them
    (soak.folder / "settings.json").write_text(json.dumps(_SETTINGS))
    words = ["train", manifest, "--region", "sublentiform", "--model", "mobile-aspp-radfusion", "--settings",
             soak.folder / "settings.json", "--allow-random-backbone", "--progress", "jsonl", "--resume",
             "-o"]  # fmt: skip
    row, steps = soak.row("kill -9 of 'train --resume'", 100, 2), Counter()
    whole, killed = soak.folder / "whole", soak.folder / "killed"
    _undisturbed(row, *words, killed / "bundle")
    killed.rename(whole)
    while soak.more(row):
        run = faults.Run(*words, killed / "bundle")
        steps[run.kill_at_random(soak.rng, soak.rng.choice((1.0, 4.0, 15.0)), 14)] += 1
        _count(row, [*faults.bundle_problems(killed / "bundle"), *faults.cache_problems(killed), *_stayed(run)])
        if (killed / "bundle").exists() or row.tried % 10 == 0 or row.tried >= row.wanted:
            _undisturbed(row, *words, killed / "bundle")
            _finished(row, whole, killed, keep_half=True)
    row.note += f"; steps hit: {', '.join(steps)}"


def _manifest(folder: Path, each: int, view: str) -> Path:
    """A small cohort of thick slices and large pixels. Networks learn from whole heads alone."""
    site = SiteProtocol("S", pixel=1.0, acquired_pixel=1.0, slice_thickness=6.0, slice_gap=0.0)
    return simulate_cohort(folder, each, each, 3, SimulationSettings(sites=(site,)), view=view)


def _undisturbed(row: Row, *words: str | Path) -> None:
    """A run to its end; one that does not get there has nothing to compare with, and is a failure itself."""
    run = faults.Run(*words)
    last = run.last_event(1800)
    if run.process.returncode:
        row.failures.append(f"an undisturbed run failed: {str(last)[:300]}")


def _count(row: Row, problems: list[str]) -> None:
    row.tried += 1
    row.failures += [f"kill {row.tried}: {p}" for p in problems]


def _stayed(run: faults.Run) -> list[str]:
    return [f"process {pid} stayed" for pid in run.orphans()]


def _finished(row: Row, whole: Path, killed: Path, keep_half: bool) -> None:
    """Compare a round that came to its end with the undisturbed run, and make room for the next one.

    ``keep_half``: the next round starts with the prepared patients, so that its kills meet what comes after them.
    """
    row.failures += faults.same_bytes(whole, killed) + [f"{name} stayed" for name in faults.leftovers(killed)]
    rounds = int(row.note.split()[0]) + 1 if row.note[:1].isdigit() else 1
    row.note = f"{rounds} resumed runs equal to the uninterrupted"
    cases = next(iter(killed.rglob("cases")), None)
    kept = cases.relative_to(killed) if cases and keep_half and rounds % 2 else None
    for path in killed.rglob("*"):
        if path.is_file() and (kept is None or killed / kept not in path.parents):
            path.unlink()
    if (killed / "bundle").exists():
        shutil.rmtree(killed / "bundle")


def _analyzed(row: Row, image: Path, out: Path) -> dict:
    """The result of an undisturbed analysis into ``out``, without what differs between any two runs."""
    last = faults.Run("analyze", image, "-o", out, "--progress", "jsonl").last_event()
    if last.get("event") != "done":
        row.failures.append(f"the run after the kills failed: {last}")
        return {}
    row.failures += faults.problems_of(out) + [f"{name} stayed" for name in faults.leftovers(out)]
    return {k: v for k, v in json.loads((out / "result.json").read_text("utf-8")).items() if k != "seconds"}


def _compare(row: Row, whole: dict, again: dict, out: Path) -> None:
    for name in ("rois.seg.nrrd", "heatmap.nii.gz", "logmap.nii.gz"):
        if (out / name).read_bytes() != (out.parent / "whole" / name).read_bytes():
            row.failures.append(f"{name} differs from the uninterrupted run's")
    if whole != again:
        row.failures.append("result.json differs from the uninterrupted run's")
