"""What an evaluation asks of the experiment, and what its stamp says of it: no model is fitted here."""

from dataclasses import replace

import numpy as np
import pytest
from planted_cohort import make_cohort

pytest.importorskip("torch", reason="needs the extra 'train'")

from cnsifusion.training import evaluate, experiment
from cnsifusion.training.evaluate import evaluate_models, learning_curve, stamp
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.learners import confounder_cohort
from cnsifusion.training.manifest import Manifest
from cnsifusion.training.settings import TrainingSettings


@pytest.fixture
def cohort(tmp_path):
    """18 + 18 patients of two sites, each with infected and controls."""
    cohort = make_cohort(tmp_path / "cases", patients=36)
    cohort.site[:] = np.where(np.arange(36) < 20, "A", "B")
    return cohort


@pytest.fixture
def opened(tmp_path, cohort, monkeypatch):
    (tmp_path / "manifest.csv").write_text("x")
    manifest = Manifest(tmp_path / "manifest.csv", [], True, ["a doubt of the manifest"])
    monkeypatch.setattr(Experiment, "cohort", lambda self: cohort)
    return Experiment(manifest, "sublentiform", TrainingSettings(folds=3, inner_folds=3), tmp_path)


def test_shuffled_labels_are_those_of_folds_and_models(opened, cohort, monkeypatch):
    tasks = []
    monkeypatch.setattr(experiment, "run_tasks", lambda run, given, **_: tasks.extend(given) or [])
    opened.run(cohort, ["radiomics-logistic"], permutation=1)
    labels = opened.labels(cohort, 1)
    assert not np.array_equal(labels, cohort.labels) and not np.array_equal(labels, opened.labels(cohort, 2))
    assert len(tasks) == 3 and all(task.labels == tuple(labels) for task in tasks)
    assert np.bincount(np.array(tasks[0].outer)[labels == 1]).tolist() == [6, 6, 6]
    opened.run(cohort, ["radiomics-logistic"])
    assert tasks[-1].labels is None


def test_an_evaluation_asks_for_its_rows_its_sites_and_what_it_shuffles(opened, cohort, tmp_path, monkeypatch):
    asked, results = [], []

    def run(self, cohort, rows, outer=None, permutation=None):
        asked.append((permutation, None if outer is None else {tuple(cohort.site[outer == f]) for f in set(outer)}))
        return {}

    def report(experiment, result, folder):
        results.append(stamp(experiment, result))

    monkeypatch.setattr(Experiment, "run", run)
    monkeypatch.setattr(evaluate, "write_files", lambda *_: None)
    monkeypatch.setattr("cnsifusion.training.report.write_report", report)
    for shuffled in (False, True):
        evaluate_models(opened, ["radiomics-logistic"], tmp_path / "out", shuffled)
    sites = {("A",) * 20, ("B",) * 16}
    assert asked == [(None, None), (None, sites), (1, None), (1, sites)]
    assert [(found["permuted"], found["infected"], found["patients"]) for found in results] == [
        (False, 18, 36), (True, 18, 36),
    ]  # fmt: skip
    assert all(found["simulated"] and "a doubt of the manifest" in found["warnings"] for found in results)


def test_a_covariate_known_for_less_than_half_of_the_patients_is_none(cohort):
    for unknown, usable in ((18, True), (19, False)):
        some = replace(cohort, age=np.where(np.arange(36) < unknown, np.nan, cohort.age))
        found = confounder_cohort(some, ("male", "age"))
        assert (found is not None) == usable
    table = confounder_cohort(cohort, ("male", "noise")).features
    assert np.array_equal(table, np.stack([cohort.male, cohort.quantities[:, 0]], axis=1)[cohort.patient])


def test_the_learning_curve_ends_with_all_patients(opened, cohort, monkeypatch):
    monkeypatch.setattr(Experiment, "predictions", lambda self, smaller, row: smaller)
    monkeypatch.setattr(evaluate, "fold_auc", lambda smaller: len(smaller.patient_ids))
    points = learning_curve(opened, cohort)
    assert points[-1] == (36, 36) and all(patients == seen for patients, seen in points)
    assert [round(5 * patients / 36) for patients, _ in points] == [2, 3, 4, 5]
