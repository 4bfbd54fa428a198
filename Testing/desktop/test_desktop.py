"""Ring 3: the panel and the effect in a real Slicer with a real mouse, on a virtual screen of 1366x768.

Each ``inside_*.py`` runs in one Slicer; each of its tests is one test here. Without a Slicer they are skipped.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = sorted(HERE.glob("inside_*.py"))
_SECONDS = 540


def slicerProgram() -> str | None:
    """Slicer's path: CNSIFUSION_SLICER, SLICER_EXECUTABLE, or the PATH; None where there is none."""
    named = os.environ.get("CNSIFUSION_SLICER") or os.environ.get("SLICER_EXECUTABLE") or shutil.which("Slicer")
    return named if named and Path(named).exists() else None


def slicerCommand(script: Path, *arguments: str) -> list[str]:
    """The command that runs a script in Slicer with both modules loaded from the sources."""
    return [
        slicerProgram() or "Slicer", "--testing", "--no-splash", "--ignore-slicerrc", "--disable-settings",
        "--additional-module-paths", str(ROOT / "CNSIFusion"), str(ROOT / "CNSISegmentEditor"),
        "--python-script", str(script), *arguments,
    ]  # fmt: skip


def insideTests() -> list:
    """One parameter per test function inside Slicer."""
    found = []
    for script in SCRIPTS:
        names = [n.name for n in ast.parse(script.read_text("utf-8")).body if isinstance(n, ast.FunctionDef)]
        found += [pytest.param(script, n, id=f"{script.stem}-{n}") for n in names if n.startswith("test_")]
    return found


@cache
def results(script: Path) -> dict:
    """Run one script in Slicer (once), return its results; a crash leaves what was written before it."""
    folder = Path(os.environ.get("CNSIFUSION_DESKTOP_OUT") or tempfile.mkdtemp(prefix="cnsifusion-desktop-"))
    folder.mkdir(parents=True, exist_ok=True)
    path, log = folder / f"{script.stem}.json", folder / f"{script.stem}.log"
    path.unlink(missing_ok=True)
    command = slicerCommand(HERE / "runner.py", script.stem, str(path))
    if not os.environ.get("CNSIFUSION_DESKTOP_SHOW"):
        command = ["xvfb-run", "-a", "-s", "-screen 0 1366x768x24", *command]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the virtual screen and Slicer with its children
            code = f"stopped after {_SECONDS} s"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {"tests": {}, "measures": {}}
    tail = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-30:])
    return {**found, "code": code, "log": str(log), "tail": tail}


@pytest.mark.parametrize(("script", "name"), insideTests())
@pytest.mark.timeout(_SECONDS + 60)
def test_inside_slicer(script: Path, name: str) -> None:
    if slicerProgram() is None:
        pytest.skip("no Slicer here: put one on PATH or name it in SLICER_EXECUTABLE")
    for program in ("xvfb-run", "xdotool"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not here (Debian: apt-get install xvfb xdotool)")
    run = results(script)
    if name not in run["tests"]:
        pytest.fail(f"Slicer ended ({run['code']}) before this test; log {run['log']}\n{run['tail']}")
    result = run["tests"][name]
    if result["outcome"] == "skipped":
        pytest.skip(result["text"])
    assert result["outcome"] == "passed", f"{result['text']}\nlog {run['log']}"
