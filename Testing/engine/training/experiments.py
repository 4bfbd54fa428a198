"""A quick experiment over a cohort of numbers (needs torch)."""

from __future__ import annotations

from cnsifusion.training.experiment import Experiment
from cnsifusion.training.manifest import Manifest
from cnsifusion.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    folds=3, inner_folds=3, checkpoints=(15,), selectors=("mrmr",), feature_counts=(4,), bootstrap=30
)


def open_experiment(folder, cohort, **options):
    """The experiment with ``cohort`` where its tasks look for it; ``options`` are Experiment's."""
    (folder / "manifest.csv").write_text("x")
    manifest = Manifest(folder / "manifest.csv", [], True)
    options.setdefault("allow_random_backbone", True)
    options.setdefault("settings", SETTINGS)
    experiment = Experiment(manifest, "sublentiform", work=folder, **options)
    cohort.save(experiment.cohort_path(cohort))
    return experiment
