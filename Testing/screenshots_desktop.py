"""Pictures of every step of the desktop face, taken from the running program: ``screenshots_desktop.py IMAGE FOLDER``.

Needs a Slicer, xvfb and xdotool.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(words: list[str]) -> int:
    """Run Slicer on a virtual screen of 1366x768; returns its exit code."""
    image, folder = Path(words[0]), Path(words[1])
    spec = importlib.util.spec_from_file_location("test_desktop", ROOT / "Testing/desktop/test_desktop.py")
    desktop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(desktop)
    if desktop.slicerProgram() is None or not image.exists() or not shutil.which("xvfb-run"):
        print("Desktop screenshots are SKIPPED: they need a Slicer, xvfb-run and the image", image)
        return 0
    command = desktop.slicerCommand(ROOT / "Testing/desktop/pictures.py", str(image.resolve()), str(folder.resolve()))
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1366x768x24"]
    return subprocess.run([*screen, *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
