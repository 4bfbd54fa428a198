"""Shared by the quick tests and the soak: kill runs at random moments and look at what is left."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from cnsifusion.analysis import read_result
from cnsifusion.imaging import read_image, read_labels

CLI = [sys.executable, "-c", "import sys; from cnsifusion.cli import main; sys.exit(main(sys.argv[1:]))"]


def start(*words: str | Path, **keywords) -> subprocess.Popen:
    """A command line run in a session of its own, so that its orphans can be found."""
    return subprocess.Popen(
        [*CLI, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        **keywords,
    )  # fmt: skip


def kill_at_random(child: subprocess.Popen, rng: random.Random, longest: float) -> str:
    """Let the run reach a random step, then a random moment of it, and kill -9; returns the step's name."""
    wanted, name = rng.randint(0, 8), "start"
    for _ in range(wanted):
        line = child.stdout.readline()
        if not line:
            break
        name = json.loads(line).get("name", name)
    time.sleep(rng.uniform(0, longest))
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    return name


def processes_of_session(session: int) -> list[int]:
    """Living processes (zombies left out) of the session that ``start`` made; Linux."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended just now
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def problems_of(out: Path) -> list[str]:
    """What is wrong with a result folder after a kill: files under their own names must be whole, or absent."""
    problems = []
    readers = {"result.json": read_result, "heatmap.nii.gz": read_image, "rois.seg.nrrd": read_labels_or_layers}
    for name, read in readers.items():
        if (out / name).exists():
            try:
                read(out / name)
            except Exception as error:  # noqa: BLE001 (the sentence goes into the table, whatever it is)
                problems.append(f"{name}: {error}")
    if (out / "result.json").exists():
        names = read_result(out / "result.json").files.values()
        problems += [f"{name} is named by the result and missing" for name in names if not (out / name).exists()]
    if (out / "report.html").exists() and not (out / "report.html").read_text("utf-8").rstrip().endswith("</html>"):
        problems.append("report.html is cut")
    return problems


def read_labels_or_layers(path: Path) -> None:
    """Read a region file (one layer or several)."""
    import SimpleITK as sitk

    if sitk.ReadImage(str(path)).GetNumberOfComponentsPerPixel() == 1:
        read_labels(path)


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders of the program below ``folder``."""
    return sorted(p.name for p in folder.rglob(".cnsifusion-*"))


