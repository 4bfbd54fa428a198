"""Bounded soak: hostile inputs, kills at random moments, fuzzing, random readers, lossy storage; run by `make soak`.

    python Testing/soak.py [--quick] [--seed N] [--only faults,fuzz,tools,drift,hostile]

Full: 100 kills each of analysis and worker and 25 of a cohort run, 200 000 executions of each fuzz target, all hostile
inputs, 6 lossy variants, 150 random readers (some 6 000 actions) for each undo. --quick: 3 kills, 1 000 executions,
10 readers. Exit code 1 when anything failed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import faults

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Row:
    """One line of the table."""

    what: str
    tried: int
    failures: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Amount:
    """How often things are tried."""

    kills: int
    cohort_kills: int
    executions: int
    readers: int


FULL, QUICK = Amount(100, 25, 200_000, 150), Amount(3, 1, 1_000, 10)


def main(words: list[str]) -> int:
    """Run the chosen parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args(words)
    amount = QUICK if options.quick else FULL
    rows: list[Row] = []
    print(f"{'what':<44}{'tried':>9}{'failed':>8}  note", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        image = simulated(Path(folder) / "T2w.nii.gz")
        for name in options.only.split(","):
            begin = time.monotonic()
            found = PARTS[name](image, Path(folder) / name, amount, random.Random(options.seed))
            print(f"[soak] {name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
            for row in found:
                print(f"{row.what:<44}{row.tried:>9}{len(row.failures):>8}  {row.note}", flush=True)
            rows += found
    for row in rows:
        for text in row.failures[:10]:
            print(f"FAILED {row.what}: {text}")
    return int(any(row.failures for row in rows))


def simulated(path: Path) -> Path:
    """A simulated, infected patient's image."""
    from cnsifusion.imaging import write_volume
    from cnsifusion.simulation import SimulationSettings, simulate_patient

    write_volume(simulate_patient(7, True, SimulationSettings()).volume, path)
    return path


def hostile(image: Path, folder: Path, amount: Amount, rng: random.Random) -> list[Row]:
    """The hostile-input suite of the tests, with its own counts."""
    tests = [str(ROOT / "Testing" / "engine" / name) for name in ("hostile", "invariance")]
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *tests]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    counts = {word: int(number) for number, word in zip(lines[-1].split(), lines[-1].replace(",", "").split()[1:])
              if number.isdigit()}  # fmt: skip
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    tried = counts.get("passed", 0) + len(failed)
    return [Row("hostile inputs and storage variants (tests)", tried, failed, lines[-1])]


def kills(image: Path, folder: Path, amount: Amount, rng: random.Random) -> list[Row]:
    """kill -9 of analyses, of a warm worker and of a cohort run at random moments."""
    return [killed_analyses(image, folder / "analyze", amount.kills, rng),
            killed_workers(image, folder / "worker", amount.kills, rng),
            killed_cohorts(folder / "cohort", amount.cohort_kills, rng)]  # fmt: skip


def killed_analyses(image: Path, out: Path, count: int, rng: random.Random) -> Row:
    """Analyses into one and the same folder, the last one undisturbed."""
    row = Row("kill -9 of 'analyze'", count)
    steps: set[str] = set()
    for number in range(count):
        child = faults.start("analyze", image, "-o", out, "--progress", "jsonl")
        steps.add(faults.kill_at_random(child, rng, 1.0))
        row.failures += [f"kill {number}: {p}" for p in faults.problems_of(out)]
        row.failures += [f"kill {number}: process {p} stayed" for p in faults.processes_of_session(child.pid)]
    row.failures += undisturbed(faults.start("analyze", image, "-o", out, "--progress", "jsonl"), out)
    row.note = f"{len(steps)} different steps hit"
    return row


def undisturbed(child: subprocess.Popen, out: Path) -> list[str]:
    """A run after the kills must succeed and clear all temporary files."""
    last = json.loads(child.communicate(timeout=600)[0].splitlines()[-1])
    problems = faults.problems_of(out) + [f"{name} stayed" for name in faults.leftovers(out)]
    return problems + ([] if last["event"] == "done" else [f"the run after the kills failed: {last}"])


def killed_workers(image: Path, out: Path, count: int, rng: random.Random) -> Row:
    """A worker that analyzes again and again (its second request is warm, so that kills meet the writing too)."""
    row = Row("kill -9 of 'worker'", count)
    request = json.dumps({"id": 1, "command": "analyze", "image": str(image), "out": str(out)}) + "\n"
    for number in range(count):
        child = faults.start("worker", stdin=subprocess.PIPE)
        child.stdin.write(request * 2)
        child.stdin.flush()
        faults.kill_at_random(child, rng, 2.0)
        row.failures += [f"kill {number}: {p}" for p in faults.problems_of(out)]
        row.failures += [f"kill {number}: process {p} stayed" for p in faults.processes_of_session(child.pid)]
    row.failures += undisturbed(faults.start("analyze", image, "-o", out, "--progress", "jsonl"), out)
    return row


def killed_cohorts(folder: Path, count: int, rng: random.Random) -> Row:
    """'cohort features --jobs 2', killed and resumed until done: the same table to the bit, no orphan."""
    row = Row("kill -9 of 'cohort features --jobs 2 --resume'", count)
    subprocess.run([*faults.CLI, "simulate", str(folder / "in"), "--patients", "2", "--controls", "2", "--seed", "3"],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    words = ["cohort", "features", folder / "in" / "manifest.csv", "--jobs", "2", "--progress", "jsonl", "--resume"]
    whole = faults.start(*words, "-o", folder / "whole" / "table.csv")
    whole.communicate(timeout=1200)
    for number in range(count):
        child = faults.start(*words, "-o", folder / "killed" / "table.csv")
        faults.kill_at_random(child, rng, 4.0)
        deadline = time.monotonic() + 60
        while faults.processes_of_session(child.pid) and time.monotonic() < deadline:
            time.sleep(0.5)
        row.failures += [f"kill {number}: process {p} stayed" for p in faults.processes_of_session(child.pid)]
    faults.start(*words, "-o", folder / "killed" / "table.csv").communicate(timeout=1200)
    tables = [folder / name / "table.csv" for name in ("whole", "killed")]
    if not all(t.exists() for t in tables) or tables[0].read_bytes() != tables[1].read_bytes():
        row.failures.append("the resumed table differs from the uninterrupted one")
    return row


def fuzz(image: Path, folder: Path, amount: Amount, rng: random.Random) -> list[Row]:
    """Coverage-guided fuzzing (atheris), every target in a process of its own with a bound on time and memory."""
    rows = []
    for target in ("bundle", "manifest", "worker", "result"):
        corpus = folder / target
        corpus.mkdir(parents=True)
        run = [sys.executable, str(ROOT / "Testing" / "fuzz.py"), target, str(corpus), f"-runs={amount.executions}",
               "-timeout=30", "-rss_limit_mb=4096", "-max_len=65536", f"-artifact_prefix={corpus}/"]  # fmt: skip
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        if "atheris is missing" in done.stderr:
            return [Row("fuzzing", 0, [], "SKIPPED: pip install atheris (Linux, Python 3.11 to 3.13)")]
        executed = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("Done ")]
        row = Row(f"fuzzing of the {target} reader", int(executed[0]) if executed else 0)
        if done.returncode or not executed:
            row.failures.append(" | ".join(done.stderr.strip().splitlines()[-12:])[:1500])
        rows.append(row)
    return rows


def tools(image: Path, folder: Path, amount: Amount, rng: random.Random) -> list[Row]:
    """Random readers with every tool and action, undo and redo, on both undo machineries (see toolwalk.py)."""
    import toolwalk

    rows = []
    for name in toolwalk.MACHINERIES:
        row, start = Row(f"actions of random readers, {name} undo", 0), rng.randrange(2**32)
        try:
            tally = toolwalk.walks(name, amount.readers, start)
            row.tried, row.note = tally.actions, f"{tally.changes} changes, {tally.undone} undos and redos"
        except ImportError as error:
            row.note = f"SKIPPED: the extra 'web' is not installed ({error.name})"
        except AssertionError as error:
            row.failures.append(f"seed {start}: {error}")
        rows.append(row)
    return rows


def drift(image: Path, folder: Path, amount: Amount, rng: random.Random) -> list[Row]:
    """Lossy variants: how far the probability moves. Reported, not judged: no storage promises equality here."""
    import numpy as np
    import SimpleITK as sitk

    from cnsifusion.analysis import Analyzer
    from cnsifusion.errors import BadInput

    head = sitk.ReadImage(str(image))
    top = float(np.percentile(sitk.GetArrayViewFromImage(head), 99.9))
    eight = sitk.Cast(sitk.Clamp(head * (255 / top), sitk.sitkFloat32, 0, 255), sitk.sitkUInt8)
    variants = {
        "the same": head, "uint8": eight, "whole numbers": sitk.Cast(sitk.Round(head), sitk.sitkInt16),
        "intensity x 3.7": head * 3.7, "pixel 0.8 mm, linear": resampled(head, 0.8, sitk.sitkLinear),
        "pixel 0.8 mm, B-spline": resampled(head, 0.8, sitk.sitkBSpline),
    }  # fmt: skip
    rows, first = [], 0.0
    for name, variant in variants.items():
        path = folder / "variant.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(variant, str(path))
        try:
            result = Analyzer().analyze(path, folder / "out")
        except BadInput as error:
            rows.append(Row(f"storage: {name}", 1, [], f"refused: {error}"))
            continue
        first = first or result.patient.probability
        change = result.patient.probability - first
        rows.append(Row(f"storage: {name}", 1, [], f"p {result.patient.probability:.4f}, {change:+.4f}; "
                        f"{len(result.warnings)} warnings"))  # fmt: skip
    return rows


def resampled(head, pixel: float, how: int):
    """The head with other square pixels."""
    import SimpleITK as sitk

    size, spacing = head.GetSize(), head.GetSpacing()
    new = [int(size[0] * spacing[0] / pixel), int(size[1] * spacing[1] / pixel), size[2]]
    return sitk.Resample(head, new, sitk.Transform(), how, head.GetOrigin(), [pixel, pixel, spacing[2]],
                         head.GetDirection(), 0.0)  # fmt: skip


PARTS = {"hostile": hostile, "faults": kills, "fuzz": fuzz, "tools": tools, "drift": drift}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
