"""``make validate``: does the machinery leak, and does it find what was planted (see ``planted``)?

Run as ``python -m cnsifusion.training.validation``; resumable. A pipeline without leakage gives a mean fold-wise AUC of
0.45 to 0.55 over the permutations (their SD is about 0.08, so the mean of 20 has a standard error of 0.017 and the
band is three of them); the three positive controls leak on purpose and must exceed 0.65, else the test
itself would be blind.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cnsifusion.imaging.write import write_text
from cnsifusion.simulation import SimulationSettings, simulate_cohort
from cnsifusion.training import planted
from cnsifusion.training.cohort import Cohort
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.metrics import fold_auc
from cnsifusion.training.selection import select
from cnsifusion.training.settings import TrainingSettings, digest
from cnsifusion.training.tasks import default_jobs

CAUGHT = 0.65
RADIOMICS, HYBRIDS = ("radiomics-logistic", "radiomics-boosting"), ("mobile-aspp-radfusion", "dense-aspp-radfusion")
#: Few inner settings, so that hundreds of fits stay affordable.
PRESET = TrainingSettings(inner_folds=3, checkpoints=(10,), selectors=("mrmr",), augmentations=0, bootstrap=10)


def selection_outside(cohort: Cohort, settings: TrainingSettings) -> Cohort:
    """Leak 1: thirty features chosen once on all patients, before the folds."""
    chosen = select(cohort, np.arange(len(cohort.patient)), "l1", 30, 0.0, False, settings.seed).columns
    return replace(
        cohort, names=cohort.names[chosen], features=cohort.features[:, chosen], altered=cohort.altered[:, :, chosen],
        key=digest(cohort.key, "selection outside"),
    )  # fmt: skip


def split_by_instance(cohort: Cohort) -> Cohort:
    """Leak 2: every instance counts as a patient, so that one patient's slices stand on both sides of a split.

    The model sees covariates of the patient (noise, spacing, age ...), which are the same in every slice.
    """
    owner = cohort.patient
    covariates = np.column_stack([cohort.quantities, cohort.age])[owner]
    known = np.flatnonzero(~np.isnan(covariates).any(axis=0))
    features = covariates[:, known]
    names = ("labels", "quantities", "age", "male", "site", "cases")
    per_patient: dict[str, Any] = {n: getattr(cohort, n)[owner] for n in names}
    ids = np.array([f"{p}#{n}" for n, p in enumerate(cohort.patient_ids[owner])])
    return replace(
        cohort, **per_patient, patient_ids=ids, patient=np.arange(len(owner)), key=digest(cohort.key, "by instance"),
        names=np.array([f"covariate{n}" for n in known]), features=features, altered=np.stack([features] * 3),
    )  # fmt: skip


def patient_twice(cohort: Cohort) -> Cohort:
    """Leak 3: every patient a second time under another id, with noise added to the image."""
    count = len(cohort.labels)
    twice: dict[str, Any] = {n: np.concatenate([getattr(cohort, n)] * 2) for n in
             ("labels", "keys", "part", "side", "quantities", "age", "male", "site", "cases")}  # fmt: skip
    return replace(
        cohort,
        **twice,
        patient_ids=np.concatenate([cohort.patient_ids, np.char.add(cohort.patient_ids.astype(str), "-again")]),
        patient=np.concatenate([cohort.patient, cohort.patient + count]),
        features=np.concatenate([cohort.features, cohort.altered[-1]]),
        altered=np.concatenate([cohort.altered, cohort.altered], axis=1),
        key=digest(cohort.key, "twice"),
    )


def positive_controls(experiment: Experiment, cohort: Cohort, permutations: int) -> dict[str, list[float]]:
    """Mean fold-wise AUC of the three leaks for each of some permutations; their mean must exceed CAUGHT."""
    found: dict[str, list[float]] = {}
    many = replace(experiment, settings=replace(experiment.settings, feature_counts=(300,), minimum_icc=0.0))
    for permutation in range(1, permutations + 1):
        shuffled = cohort.with_labels(experiment.labels(cohort, permutation))
        leaks = {
            "features chosen outside the folds": (selection_outside(shuffled, many.settings), "radiomics-logistic"),
            "split by instance": (split_by_instance(shuffled), "radiomics-boosting"),
            "one patient under two ids": (patient_twice(shuffled), "radiomics-logistic"),
        }
        for name, (leaky, model) in leaks.items():
            leaky.save(many.cohort_path(leaky))
            found.setdefault(name, []).append(fold_auc(many.predictions(leaky, model)))
    return found


def main() -> None:
    """The command line of ``make validate``."""
    parser = argparse.ArgumentParser(description="Leakage test on simulated patients, with its positive controls.")
    parser.add_argument("work", type=Path, nargs="?", default=Path("build/validation"))
    parser.add_argument("--manifest", type=Path, help="an existing cohort instead of 60 + 60 simulated patients")
    parser.add_argument("--permutations", type=int, default=20)
    parser.add_argument("--hybrid-permutations", type=int, default=10)
    parser.add_argument("--planted-patients", type=int, default=60, help="of each class; 0: no planted effects")
    parser.add_argument("--seeds", type=int, default=1, help="cohorts for each planted effect")
    parser.add_argument("--scenarios", default="", help="comma-separated beginnings of names; all when absent")
    parser.add_argument("--pretraining-steps", type=int, default=500, help="0: radiomics alone")
    parser.add_argument("--jobs", type=int, default=default_jobs())
    options = parser.parse_args()
    failed = _leakage(options) if options.permutations or options.hybrid_permutations else []
    failed += _planted(options) if options.planted_patients else []
    print("Nothing speaks against the machinery." if not failed else "FAILED: " + "; ".join(failed))
    raise SystemExit(1 if failed else 0)


def _planted(options: argparse.Namespace) -> list[str]:
    """Every chosen scenario and seed, a line for each; what failed."""
    work, failed = options.work, []
    steps = options.pretraining_steps
    backbone = planted.pretrained(PRESET, work, steps, options.jobs) if steps else None
    settings = replace(PRESET, inner_folds=5, bootstrap=300)  # few inner folds leave the calibration too flat
    wanted = tuple(name.strip() for name in options.scenarios.split(","))
    for scenario in (s for s in planted.SCENARIOS if s.name.startswith(wanted)):
        results = []
        for seed in range(301, 301 + options.seeds):
            patients = max(options.planted_patients, scenario.least)
            result = planted.run_scenario(scenario, patients, seed, settings, work, backbone, options.jobs)
            print(planted.line(result), flush=True)
            results.append(result)
        failed += planted.judge(scenario, results)
    return failed


def _leakage(options: argparse.Namespace) -> list[str]:
    manifest = options.manifest
    if manifest is None:
        manifest = simulate_cohort(
            options.work / "cohort", 60, 60, 7, SimulationSettings(), options.jobs, view="deep"
        )
    experiment = Experiment.open(
        manifest, "sublentiform", PRESET, options.work, allow_random_backbone=True, jobs=options.jobs
    )
    cohort = experiment.cohort()
    return report(experiment, cohort, options.permutations, options.hybrid_permutations, options.work)


def report(experiment: Experiment, cohort: Cohort, permutations: int, hybrid_permutations: int, out: Path) -> list[str]:
    """Run everything, print one line per figure, write ``leakage.json``; returns what failed."""
    failed, figures = [], {}
    for models, count in ((RADIOMICS, permutations), (HYBRIDS, hybrid_permutations)):
        for model in models if count else ():
            values = [fold_auc(experiment.predictions(cohort, model, k)) for k in range(1, count + 1)]
            mean, spread = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
            figures[model] = values
            print(f"{model}: mean AUC {mean:.3f} (standard error {spread:.3f}) over {count} permutations", flush=True)
            if not planted.CHANCE[0] <= mean <= planted.CHANCE[1]:
                failed.append(f"{model} {mean:.3f}")
    for name, values in positive_controls(experiment, cohort, 5).items():
        figures[name], value = values, float(np.mean(values))
        print(f"positive control, {name}: AUC {value:.3f}", flush=True)
        if value <= CAUGHT:
            failed.append(f"{name} was not caught ({value:.3f})")
    write_text(json.dumps({"patients": len(cohort.labels), "auc": figures}, indent=1), out / "leakage.json")
    return failed


if __name__ == "__main__":
    main()
