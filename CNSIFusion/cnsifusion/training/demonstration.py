"""``make bundle``: the demonstration bundle from nothing, through the same commands a site uses for its own cohort.

Simulates two cohorts of disjoint seeds, pre-trains the backbone without labels on the first, and trains the bundle on
the second, with proposed regions as in an analysis. Interrupted, it goes on where it stopped. Run as
``python -m cnsifusion.training.demonstration``.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnsifusion import __version__
from cnsifusion.bundles import default_bundle_dir, load_bundle
from cnsifusion.imaging.write import write_table
from cnsifusion.models.settings import get_model
from cnsifusion.radiomics.settings import ENGINE, ENGINE_VERSION
from cnsifusion.simulation import SimulationSettings, simulate_cohort
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.pretrain import pretrain
from cnsifusion.training.settings import TrainingSettings, digest
from cnsifusion.training.tasks import Progress, default_jobs
from cnsifusion.training.train import source_hashes, train_bundle

MODEL, REGION, MASK_ORIGIN = "mobile-aspp-radfusion", "sublentiform", "automatic"
#: (patients, controls, seed) of the cohort that trains and of the one that pre-trains.
TRAINING_COHORT, PRETRAINING_COHORT = (40, 40, 101), (14, 14, 9001)
PRETRAINING_STEPS, PRETRAINING_SEED = 500, 1
NAME = "Demonstration: mobile-aspp-radfusion, sub-lentiform"


def recipe() -> dict:
    """Everything the demonstration bundle depends on, as JSON values."""
    return {
        "version": __version__,
        "engine": [ENGINE, ENGINE_VERSION],
        "model": asdict(get_model(MODEL)),
        "region": REGION,
        "mask_origin": MASK_ORIGIN,
        "training": TrainingSettings().to_dict(),
        "simulation": SimulationSettings().to_dict(),
        "cohorts": [TRAINING_COHORT, PRETRAINING_COHORT],
        "pretraining": [PRETRAINING_STEPS, PRETRAINING_SEED],
    }


def recipe_hash() -> str:
    """Hash of ``recipe``: the bundle that ships must carry this one."""
    return digest(recipe())


def changed_rooms(provenance: Mapping[str, Any]) -> list[str]:
    """Rooms of the program whose source is not what it was when the bundle of this ``provenance`` was made."""
    then, now = provenance.get("source", {}), source_hashes()
    return [room for room in now if then.get(room) != now[room]]


def make_demonstration(work: Path, out: Path, jobs: int, progress: Progress) -> Path:
    """Make the bundle in ``out``; ``work`` keeps cohorts and caches. Returns ``out``."""
    trained = simulate_cohort(work / "cohort", *TRAINING_COHORT, SimulationSettings(), jobs, progress)
    other = simulate_cohort(work / "pretraining", *PRETRAINING_COHORT, SimulationSettings(), jobs, progress)
    settings, model = TrainingSettings(), get_model(MODEL)
    weights = work / f"{model.backbone}.pt"
    if not weights.exists():
        pretraining = Experiment.open(other, REGION, settings, work / "caches", folds=0, jobs=jobs, progress=progress)
        pretrain(pretraining, model, weights, PRETRAINING_STEPS, PRETRAINING_SEED)
    experiment = Experiment.open(
        _without_regions(trained), REGION, settings, work / "caches", jobs=jobs, progress=progress,
        backbones={str(model.backbone): weights},
    )  # fmt: skip
    return train_bundle(experiment, MODEL, out, NAME, provenance={"recipe_hash": recipe_hash()})


def _without_regions(manifest: Path) -> Path:
    """A copy of ``manifest`` beside it that leaves the regions to the proposal: no reader will have the true ones."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [row | {"rois": "", "mask_origin": MASK_ORIGIN} for row in csv.DictReader(file)]
    proposed = manifest.with_name("manifest-proposed.csv")
    write_table(rows, proposed)
    return proposed


def main() -> None:
    """The command line of ``make bundle``."""
    parser = argparse.ArgumentParser(description="Make the demonstration bundle (simulated patients only).")
    parser.add_argument("work", type=Path, nargs="?", default=Path("build/demonstration"), help="cohorts and caches")
    parser.add_argument("--out", type=Path, default=default_bundle_dir())
    parser.add_argument("--jobs", type=int, default=default_jobs())
    parser.add_argument("--check", action="store_true", help="only say what changed since the bundle was made")
    options = parser.parse_args()
    if options.check:
        changed = changed_rooms(load_bundle(options.out).settings.provenance)
        print("Source changed since the bundle was made: " + (", ".join(changed) or "none"))
        return

    def say(done: int, total: int, name: str) -> None:
        if done == total or done % max(1, total // 10) == 0:
            print(f"{name}: {done}/{total}", flush=True)

    print(f"Bundle: {make_demonstration(options.work, options.out, options.jobs, say)}")


if __name__ == "__main__":
    main()
