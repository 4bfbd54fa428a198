"""Shared by the quick tests and the soak: kill runs at random moments and look at what is left (Linux)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from cnsifusion.analysis import read_result
from cnsifusion.bundles import load_bundle
from cnsifusion.errors import BundleError
from cnsifusion.imaging import read_image, read_labels

CLI = [sys.executable, "-c", "import sys; from cnsifusion.cli import main; sys.exit(main(sys.argv[1:]))"]
_MARK = "CNSIFUSION_FAULTS_RUN"


class Run:
    """A command line run whose whole family can be found: every process it starts inherits its mark."""

    def __init__(
        self, *words: str | Path, environment: dict[str, str] | None = None, command: list[str] = CLI, **keywords
    ) -> None:
        self._mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [*command, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **(environment or {}), _MARK: self._mark}, **keywords,
        )  # fmt: skip

    def family(self) -> list[int]:
        """Living processes (zombies left out) of the run, wherever they were moved to."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                marked = entry.name.isdigit() and f"{_MARK}={self._mark}".encode() in (entry / "environ").read_bytes()
                if marked and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended just now, or is not ours
        return found

    def kill(self) -> None:
        """kill -9 of the process that was started; what it started is left to itself."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def kill_at_random(self, rng: random.Random, longest: float, steps: int = 8) -> str:
        """Let the run reach a random step, then up to ``longest`` s more, and kill it; returns the step's name."""
        name = "start"
        for _ in range(rng.randint(0, steps)):
            line = self.process.stdout.readline()
            if not line:
                break
            name = json.loads(line).get("name", name) if line.startswith("{") else name
        time.sleep(rng.uniform(0, longest))
        self.kill()
        return name

    def orphans(self, seconds: float = 60.0) -> list[int]:
        """Processes of a killed run that are still there after ``seconds``; they are killed too."""
        deadline = time.monotonic() + seconds
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def last_event(self, seconds: float = 600.0) -> dict:
        """Wait for the end; the last JSON line (empty when there was none)."""
        lines = [line for line in self.process.communicate(timeout=seconds)[0].splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {}


def problems_of(out: Path) -> list[str]:
    """What is wrong with a result folder after a kill: files under their own names must be whole, or absent."""
    readers = {"result.json": read_result, "rois.seg.nrrd": _read_regions}
    readers |= dict.fromkeys(("heatmap.nii.gz", "logmap.nii.gz"), read_image)
    problems = [text for name, read in readers.items() if (text := _unreadable(out / name, read))]
    if (out / "result.json").exists():
        names = read_result(out / "result.json").files.values()
        problems += [f"{name} is named by the result and missing" for name in names if not (out / name).exists()]
    if (out / "report.html").exists() and not (out / "report.html").read_text("utf-8").rstrip().endswith("</html>"):
        problems.append("report.html is cut")
    return problems


def bundle_problems(folder: Path) -> list[str]:
    """What is wrong with a bundle folder after a kill: whole, or absent."""
    try:
        if folder.exists():
            load_bundle(folder)
    except BundleError as error:
        return [str(error)]
    return []


def cache_problems(work: Path) -> list[str]:
    """Cached arrays under their own names that cannot be read whole."""
    import numpy as np

    def read(path: Path) -> None:
        with np.load(path, allow_pickle=False) as data:
            for name in data.files:
                data[name]

    paths = [p for p in work.rglob("*.npz") if not p.name.startswith(".")]
    return [text for path in paths if (text := _unreadable(path, read))]


def same_bytes(one: Path, other: Path) -> list[str]:
    """Files below two folders that differ or are missing on one side."""
    names = {p.relative_to(folder) for folder in (one, other) for p in folder.rglob("*") if p.is_file()}
    return [
        f"{name} differs from the uninterrupted run's"
        for name in sorted(names)
        if not ((one / name).exists() and (other / name).exists())
        or (one / name).read_bytes() != (other / name).read_bytes()
    ]


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders of the program below ``folder``."""
    return sorted(p.name for p in folder.rglob(".cnsifusion-*"))


def _unreadable(path: Path, read: Callable[[Path], object]) -> str:
    if not path.exists():
        return ""
    try:
        read(path)
    except Exception as error:  # noqa: BLE001 (the sentence goes into the table, whatever it is)
        return f"{path.name}: {error}"
    return ""


def _read_regions(path: Path) -> None:
    """Read a region file (one layer or several)."""
    import SimpleITK as sitk

    if sitk.ReadImage(str(path)).GetNumberOfComponentsPerPixel() == 1:
        read_labels(path)
