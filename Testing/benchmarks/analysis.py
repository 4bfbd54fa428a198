#!/usr/bin/env python3
"""How long one analysis takes in the worker, cold and warm, with regions present: both networks.

    python Testing/benchmarks/analysis.py [IMAGE] [--dense BUNDLE] [--repeats 5]

Cold: a worker that has just started and knows no head, from the request to the answer (``started``: from the start of
its process, imports included). Warm: the same head again. The regions are proposed once; for the second bundle the
sub-lentiform masks are copied to the slices above and below, which gives about ten instances. ``--dense`` is a bundle
of dense-aspp-radfusion; without it one is trained anew, five folds on ten simulated patients with a random backbone
(ten minutes, needs torch): its score means nothing, its size and work are real. Seconds on the clock, and the worker's
processor time, which other work on the machine changes little. Prints medians; judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cnsifusion.analysis import Analyzer, read_result
from cnsifusion.bundles import default_bundle_dir
from cnsifusion.imaging import read_image
from cnsifusion.mrml.child import engineCommand
from cnsifusion.roi.names import SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT
from cnsifusion.roi.region_io import read_regions, write_regions

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "oms_patient01_study1" / "T2w.nii.gz"
_QUICK = {
    "inner_folds": 4, "selectors": ["mrmr"], "bootstrap": 20, "ablations": [], "leave_site_out": False,
    "checkpoints": [2],
}  # fmt: skip


class Worker:
    """A warm worker, as the faces run it."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self._process = subprocess.Popen(
            engineCommand("worker"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None and self._process.stdin is not None
        self._out, self._in = self._process.stdout, self._process.stdin

    def cpu(self) -> float:
        """Processor seconds so far (Linux)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def idle(self) -> None:
        """Until what it does before the first request is done."""
        self.ask({"command": "check", "image": "/nonexistent.nii"})

    def ask(self, request: dict) -> tuple[float, float]:
        """Seconds on the clock and of the processor until the answer; RuntimeError where ``request`` is refused."""
        start, used = time.perf_counter(), self.cpu()
        self._in.write(json.dumps(request) + "\n")
        self._in.flush()
        while (answer := json.loads(self._out.readline())).get("event") not in ("done", "error"):
            pass
        if answer["event"] == "error" and request["command"] == "analyze":
            raise RuntimeError(answer.get("message", "refused"))
        return time.perf_counter() - start, self.cpu() - used

    def close(self) -> None:
        self._in.close()
        self._process.wait()


def train_dense(folder: Path) -> Path:
    """A bundle of dense-aspp-radfusion with the heads of five folds, trained on ten simulated patients."""
    (folder / "settings.json").write_text(json.dumps(_QUICK))
    run = [sys.executable, "-m", "cnsifusion.cli"]
    words = ["--patients", "5", "--controls", "5", "--seed", "3"]
    subprocess.run([*run, "simulate", folder / "cohort", *words], check=True)
    words = ["--region", "sublentiform", "--model", "dense-aspp-radfusion", "--allow-random-backbone"]
    words += ["--settings", str(folder / "settings.json"), "-o", str(folder / "dense")]
    subprocess.run([*run, "train", folder / "cohort" / "manifest.csv", *words], check=True)
    return folder / "dense"


def taller(regions: Path, image: Path) -> Path:
    """A copy of the region file whose sub-lentiform masks reach one slice further up and down."""
    found = read_regions(regions, read_image(image))
    for name in (SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT):
        mask = found.masks[name]
        slices = np.flatnonzero(mask.any(axis=(1, 2)))
        for inner, outer in ((slices[0], slices[0] - 1), (slices[-1], slices[-1] + 1)):
            mask[outer] = mask[inner]
    path = regions.with_name("taller.seg.nrrd")
    write_regions(found, path)
    return path


def measure(name: str, request: dict, repeats: int) -> None:
    """Print cold and warm medians of one request."""
    cold, started, warm = [], [], []
    for _ in range(max(1, repeats // 2)):
        worker = Worker()
        worker.ask(request)
        started.append((time.perf_counter() - worker.begun, worker.cpu()))
        worker.close()
        worker = Worker()
        worker.idle()
        cold.append(worker.ask(request))
        warm += [worker.ask(request) for _ in range(repeats)]
        worker.close()
    result = read_result(Path(request["out"]) / "result.json")
    print(f"{name}: {len(result.instances)} instances, {result.model}")
    for words, runs in (("cold, from the process' start", started), ("cold", cold), ("warm", warm)):
        clock, used = (statistics.median(values) for values in zip(*runs))
        worst = max(seconds for seconds, _ in runs)
        print(f"  {words:30} {clock:6.2f} s (worst {worst:.2f} of {len(runs)}), processor {used:.2f} s", flush=True)
    print("  last run, by step:", ", ".join(f"{step} {seconds:.2f}" for step, seconds in result.seconds.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?", type=Path, default=REAL)
    parser.add_argument("--dense", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        regions = folder / "rois.seg.nrrd"
        Analyzer().propose(options.image, regions)
        request = {"command": "analyze", "image": str(options.image), "out": str(folder / "out")}
        measure(
            "shipped bundle", {**request, "rois": str(regions), "bundle": str(default_bundle_dir())}, options.repeats
        )
        dense = options.dense or train_dense(folder)
        rois = taller(regions, options.image)
        measure("dense bundle", {**request, "rois": str(rois), "bundle": str(dense)}, options.repeats)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
