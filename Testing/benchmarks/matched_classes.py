"""Why cross-validation may lie far below 0.5 where there is nothing to find, and that the fold models are not to blame.

Patients are numbers without any effect: 60 features, mixed from 10 causes. Classes are either drawn or matched (pairs
of alike patients, one of each class, as a careful study or chance may have it). Each cohort runs through the nested
cross-validation of ``radiomics-logistic``, and each fold model also judges 2,000 patients it has nothing to do with.
With matched classes a fold that happens to hold higher values among the infected leaves lower ones for training, so
the fold model is turned against its own test patients, though it is worth 0.5 on anybody else. A sign fault would show
on the strangers too; a real effect is planted as the control. Run: python Testing/benchmarks/matched_classes.py
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine" / "training"))
from planted_cohort import make_cohort

from cnsifusion.training.cohort import Cohort
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.manifest import Manifest
from cnsifusion.training.metrics import auc, fold_auc
from cnsifusion.training.nested import join
from cnsifusion.training.validation import PRESET

PATIENTS, COHORTS, STRANGERS, FEATURES, CAUSES = 80, 40, 2000, 60, 10
ROW, EFFECT = "radiomics-logistic", 0.8


def draw(random: np.random.Generator, mixing: np.ndarray, labels: np.ndarray, effect: float) -> np.ndarray:
    """Features (n, FEATURES); ``effect`` (SD) acts on the first cause."""
    causes = random.normal(size=(len(labels), CAUSES))
    causes[:, 0] += effect * labels
    return causes @ mixing + 0.3 * random.normal(size=(len(labels), FEATURES))


def matched_labels(features: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each patient paired with the nearest one that is still free; a coin says who of the two is infected."""
    distance = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    labels, free = np.zeros(len(features), int), list(range(len(features)))
    while free:
        one = free.pop(0)
        other = min(free, key=lambda n: distance[one, n])
        free.remove(other)
        labels[[one, other][int(random.random() < 0.5)]] = 1
    return labels


def areas(base: Cohort, folder: Path, kind: str, seed: int) -> tuple[float, float, float]:
    """AUC in cross-validation, on strangers, and the largest difference of the classes' means (SD)."""
    random = np.random.default_rng([seed, 5])
    mixing = random.normal(size=(CAUSES, FEATURES)) / np.sqrt(CAUSES)
    effect, labels = (EFFECT if kind == "effect" else 0.0), random.permutation(np.arange(PATIENTS) % 2)
    person = draw(random, mixing, labels, effect)
    if kind == "matched":
        labels = matched_labels(person, random)
    features = person[base.patient] + 0.3 * random.normal(size=(len(base.patient), FEATURES))
    altered = features + 0.1 * random.normal(size=(3, *features.shape))
    cohort = replace(base, labels=labels, features=features, altered=altered, key=f"{kind}-{seed}")
    experiment = Experiment(Manifest(folder / "manifest.csv", [], True), "sublentiform", PRESET, folder)
    cohort.save(experiment.cohort_path(cohort))
    folds = experiment.run(cohort, [ROW])[ROW]
    strange = np.arange(STRANGERS) % 2
    others, outside = draw(random, mixing, strange, effect), []
    for fold in folds:
        shown = np.clip((others[:, fold.columns] - fold.mean) / fold.scale, -4, 4)
        outside.append(auc(shown @ fold.state["weight"] + fold.state["bias"], strange))
    apart = person[labels == 1].mean(axis=0) - person[labels == 0].mean(axis=0)
    inside = fold_auc(join(cohort, folds, labels), np.arange(PATIENTS))
    return inside, float(np.mean(outside)), float(np.abs(apart / person.std(axis=0)).max())


def main() -> None:
    """One line for each kind of cohort."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "manifest.csv").write_text("x")
        base = make_cohort(folder / "cases", patients=PATIENTS, instances=4, features=FEATURES)
        for kind in ("drawn", "matched", "effect"):
            found = np.array([areas(base, folder, kind, seed) for seed in range(COHORTS)])
            (inside, outside, apart), spread = found.mean(axis=0), found.std(axis=0, ddof=1)
            together = np.corrcoef(found[:, 0], found[:, 2])[0, 1]
            print(
                f"{kind}: cross-validated AUC {inside:.3f} (SD {spread[0]:.3f}), on strangers {outside:.3f} (SD "
                f"{spread[1]:.3f}); largest difference of means {apart:.2f} SD, its correlation with the AUC "
                f"{together:.2f}; {COHORTS} cohorts of {PATIENTS}",
                flush=True,
            )


if __name__ == "__main__":
    main()
