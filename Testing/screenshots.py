#!/usr/bin/env python3
"""The documentation's pictures in Resources/Screenshots, of every step of both faces, from the running program.

The T2 shown is a real one of muschellij2/open_ms_data (CC-BY, Lesjak et al.) where ../shared/data is present.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the browser's script, and the desktop's where there is a Slicer; returns the worst exit code."""
    scripts = [HERE / "screenshots_browser.py"]
    if os.environ.get("SLICER_EXECUTABLE") or shutil.which("Slicer"):
        scripts.append(HERE / "screenshots_desktop.py")
    else:
        print("No Slicer on PATH: the desktop's pictures are left as they are.")
    return max(subprocess.run([sys.executable, script], check=False).returncode for script in scripts)


if __name__ == "__main__":
    raise SystemExit(main())
