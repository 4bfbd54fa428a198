"""How training scales: patients (100, 200, 400, projected to 10,000) and processes (1 against 2).

A cohort of numbers and noise pictures stands in for prepared patients (567 features, 4 patches of 96 x 96 each), so
this times backbone maps and nested cross-validation; preparing an image is timed by the analysis benchmark. Prints
seconds of CPU and wall time; run it on a quiet machine for the comparison of processes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine" / "training"))
from planted_cohort import make_cohort

from cnsifusion.training.experiment import Experiment
from cnsifusion.training.manifest import Manifest
from cnsifusion.training.settings import TrainingSettings

ROWS = ["radiomics-logistic", "mobile-aspp-radfusion"]
SETTINGS = TrainingSettings(folds=5, inner_folds=3, checkpoints=(10,), selectors=("mrmr",), augmentations=0)


def run(patients: int, jobs: int) -> tuple[dict[str, float], float]:
    """Wall seconds of each row and CPU seconds of this process, for a fresh cohort."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "manifest.csv").write_text("x")
        cohort = make_cohort(folder / "cases", patients=patients, instances=4, features=567, pixels=96)
        experiment = Experiment(
            Manifest(folder / "manifest.csv", [], True), "sublentiform", SETTINGS, folder,
            allow_random_backbone=True, jobs=jobs,
        )  # fmt: skip
        cohort.save(experiment.cohort_path(cohort))
        wall, cpu = {}, time.process_time()
        for row in ROWS:
            started = time.perf_counter()
            experiment.run(cohort, [row])
            wall[row] = time.perf_counter() - started
        return wall, time.process_time() - cpu


def main() -> None:
    """Print both tables."""
    slowest = {}
    for patients in (100, 200, 400):
        wall, cpu = run(patients, 1)
        slowest[patients] = cpu
        rows = ", ".join(f"{row} {seconds:.1f} s" for row, seconds in wall.items())
        each = 1000 * cpu / patients
        print(f"{patients} patients, 1 process: {rows}; CPU {cpu:.1f} s ({each:.0f} ms a patient)", flush=True)
    slope = (slowest[400] - slowest[100]) / 300
    print(f"Projected to 10,000 patients, linear: {(slowest[400] + slope * 9600) / 3600:.1f} h of CPU")
    one, two = sum(run(200, 1)[0].values()), sum(run(200, 2)[0].values())
    print(f"200 patients: 1 process {one:.1f} s, 2 processes {two:.1f} s: {one / two:.2f} times as fast")


if __name__ == "__main__":
    main()
