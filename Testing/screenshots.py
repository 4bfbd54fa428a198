#!/usr/bin/env python3
"""The documentation's pictures in Resources/Screenshots, of every step of both faces, from the running program.

    python Testing/screenshots.py [IMAGE [FOLDER]]

Without IMAGE they show a simulated patient, the only ones that may be committed. To judge the faces, look at a real T2:
``screenshots.py ../shared/data/oms_patient01_study1/T2w.nii.gz /tmp/pictures``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(words: list[str]) -> int:
    """Run the browser's script, and the desktop's where there is a Slicer; returns the worst exit code."""
    scripts = [HERE / "screenshots_browser.py"]
    if os.environ.get("SLICER_EXECUTABLE") or shutil.which("Slicer"):
        scripts.append(HERE / "screenshots_desktop.py")
    else:
        print("No Slicer on PATH: the desktop's pictures are left as they are.")
    folder = words[1] if len(words) > 1 else str(HERE.parent / "Resources" / "Screenshots")
    with tempfile.TemporaryDirectory() as temporary:
        image = words[0] if words else str(_simulated(Path(temporary)))
        return max(subprocess.run([sys.executable, s, image, folder], check=False).returncode for s in scripts)


def _simulated(folder: Path) -> Path:
    from cnsifusion.imaging import write_volume
    from cnsifusion.simulation import SimulationSettings, simulate_patient

    path = folder / "simulated patient" / "T2w.nii.gz"  # the page names folder and file
    path.parent.mkdir()
    write_volume(simulate_patient(11, True, SimulationSettings()).volume, path)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
