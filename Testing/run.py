#!/usr/bin/env python3
"""The commands behind the Makefile; needs nothing but Python 3.10-3.13 with venv.

    python Testing/run.py demo [--headless]     set up, simulate a patient, analyze it, open the browser face
    python Testing/run.py test [pytest words]   set up, lint, type-check, run every ring of tests that can run here
    python Testing/run.py bundle                remake the demonstration bundle
    python Testing/run.py benchmarks            every table of the documentation
    python Testing/run.py validate | soak       long checks of honesty and of robustness
    python Testing/run.py screenshots           the documentation's pictures, from the running program
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
DEMO_SEED = "7"
#: Extras each command needs; none of demo's brings torch.
EXTRAS = {"demo": ("web",), "demo-headless": (), "other": ("train", "cluster", "web", "dicom", "test")}


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__)
        return 2
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return stop(f"Python 3.10 to 3.13 is needed, this is {sys.version.split()[0]}; set PYTHON=/path/to/python3.11.")
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except subprocess.CalledProcessError as error:
        return stop(f"The step '{' '.join(str(a) for a in error.cmd[:4])} ...' failed; its messages stand above.")
    except KeyboardInterrupt:
        return stop("Stopped.")


def demo(words: list[str]) -> int:
    """Simulated patient -> analysis -> browser (or only the report with --headless)."""
    headless = "--headless" in words
    set_up(EXTRAS["demo-headless" if headless else "demo"])
    out = ROOT / "demo-output"
    command = BIN / "cnsifusion"
    start = time.monotonic()
    say("Simulating a patient with infection ...")
    simulate = ["simulate", out / "cohort", "--patients", "1", "--controls", "1", "--seed", DEMO_SEED]
    subprocess.run([command, *simulate], check=True)
    with (out / "cohort" / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        patient = next(row for row in csv.DictReader(stream) if row["label"] == "1")
    image = out / "cohort" / patient["image"]
    say("Analyzing the simulated image ...")
    subprocess.run([command, "analyze", image, "-o", out / "result"], check=True)
    say(f"Simulated and analyzed in {time.monotonic() - start:.0f} s.")
    if headless:
        return 0
    say("Opening the browser face on 127.0.0.1; stop it with Ctrl+C.")
    return subprocess.run([command, "app", image], check=False).returncode


def test(words: list[str]) -> int:
    """Lint, types, then the three rings of tests; with words of pytest one run of it."""
    start = time.monotonic()
    set_up(EXTRAS["other"])
    system_packages()
    say("Lint and types ...")
    subprocess.run([BIN / "ruff", "check", "--quiet", "."], cwd=ROOT, check=True)
    subprocess.run([BIN / "mypy"], cwd=ROOT, check=True)
    slicer = os.environ.get("SLICER_EXECUTABLE") or shutil.which("Slicer")
    if slicer:
        say(f"Ring 3 runs in {slicer}.")
    else:
        say("Ring 3 (real Slicer desktop) is SKIPPED: no 'Slicer' on PATH and SLICER_EXECUTABLE is not set.")
    say("Tests ...")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "CNSIFUSION_SLICER": slicer or ""}
    alone = words or (os.cpu_count() or 1) < 2
    code = pytest(words, environment).wait() if alone else rings(environment)
    say(f"Done after {(time.monotonic() - start) / 60:.1f} minutes.")
    return code


def rings(environment: dict[str, str]) -> int:
    """Rings 1 and 2 beside each other, since pages wait more than they compute; then ring 3 alone: Slicer runs at the
    lowest priority, and a mouse that waits for its turn is no reader's.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as report:
        first = pytest(["Testing/engine"], environment, stdout=report, stderr=subprocess.STDOUT)
        others = ["Testing", "--ignore=Testing/engine", "--ignore=Testing/desktop"]
        try:
            codes = [pytest(others, environment).wait(), first.wait()]
        finally:
            first.kill()
        report.seek(0)
        say("Ring 1:")
        print(report.read(), flush=True)
    if environment["CNSIFUSION_SLICER"]:
        codes.append(pytest(["Testing/desktop"], environment).wait())
    return next((code for code in codes if code), 0)


def pytest(words: list[str], environment: dict[str, str], **streams) -> subprocess.Popen:
    """A run of pytest that has begun."""
    return subprocess.Popen([PYTHON, "-m", "pytest", "-q", *words], cwd=ROOT, env=environment, **streams)


def module(name: str):
    """A command that sets up everything and runs a Python module or script with the words given."""

    def run(words: list[str]) -> int:
        set_up(EXTRAS["other"])
        target = [str(ROOT / name)] if name.endswith(".py") else ["-m", name]
        return subprocess.run([PYTHON, *target, *words], cwd=ROOT, check=False).returncode

    return run


def benchmarks(words: list[str]) -> int:
    """Every benchmark script, one after the other; words choose some by name."""
    set_up(EXTRAS["other"])
    files = sorted((ROOT / "Testing" / "benchmarks").glob("*.py"))
    scripts = [file for file in files if "__main__" in file.read_text("utf-8")]  # the others are their parts
    for script in (s for s in scripts if not words or s.stem in words):
        say(f"Benchmark {script.stem} ...")
        subprocess.run([PYTHON, str(script)], cwd=ROOT, check=True)
    return 0


def set_up(extras: tuple[str, ...]) -> None:
    """Create ``.venv`` and install the package with ``extras`` unless that was done with this pyproject.toml."""
    stamp = VENV / "cnsifusion-installed.txt"
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    done = stamp.read_text().split() if stamp.exists() else []
    if not PYTHON.exists():
        say("Creating .venv ...")
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        done = []
    if done and done[0] == digest and set(extras) <= set(done[1:]):
        return
    wanted = sorted({*extras, *(done[1:] if done and done[0] == digest else [])})
    what = f".[{','.join(wanted)}]" if wanted else "."
    say(f"Installing {what} into .venv (the first time takes a few minutes) ...")
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "pip"], cwd=ROOT, check=True)
    subprocess.run([*pip, "-e", what], cwd=ROOT, check=True)
    stamp.write_text("\n".join([digest, *wanted]))


def system_packages() -> None:
    """What the tests need from the system; installed where apt and root allow, else named."""
    needed = {
        "chromium": "chromium", "Xvfb": "xvfb", "xdotool": "xdotool", "dciodvfy": "dicom3tools",
        "uic": "qtbase5-dev-tools",
    }  # fmt: skip
    missing = [package for program, package in needed.items() if not shutil.which(program)]
    if not missing:
        return
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        say(f"Installing {', '.join(missing)} with apt-get ...")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet, stdout=subprocess.DEVNULL)
        install = ["apt-get", "install", "-y", "-qq", *missing]
        subprocess.run(install, check=True, env=quiet, stdout=subprocess.DEVNULL)
    else:
        say(f"Not installed: {', '.join(missing)}. The tests that need them are SKIPPED; install them to run all.")


def say(text: str) -> None:
    """One line for the person at the terminal."""
    print(f"[cnsifusion] {text}", flush=True)


def stop(text: str) -> int:
    """Say why nothing more happens; returns exit code 1."""
    print(f"[cnsifusion] {text}", file=sys.stderr, flush=True)
    return 1


COMMANDS = {
    "demo": demo,
    "test": test,
    "bundle": module("cnsifusion.training.demonstration"),
    "benchmarks": benchmarks,
    "validate": module("cnsifusion.training.validation"),
    "soak": module("Testing/soak.py"),
    "screenshots": module("Testing/screenshots.py"),
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
