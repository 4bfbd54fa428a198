"""Nested cross-validation end to end on a cohort of numbers: it learns, resumes, repeats, does not leak."""

import shutil
from concurrent.futures import BrokenExecutor
from dataclasses import replace

import numpy as np
import pytest
import workers

torch = pytest.importorskip("torch")

from experiments import SETTINGS, open_experiment  # noqa: E402
from planted_cohort import make_cohort  # noqa: E402

from cnsifusion.errors import BadInput, failure  # noqa: E402
from cnsifusion.imaging import PreparationSettings  # noqa: E402
from cnsifusion.models.settings import get_model  # noqa: E402
from cnsifusion.training import maps, nested  # noqa: E402
from cnsifusion.training.cases import QUANTITIES  # noqa: E402
from cnsifusion.training.evaluate import _CHANGES, ACQUISITION_LIMIT, Evaluation, _confounding, evaluate_models  # noqa: E402
from cnsifusion.training.experiment import Experiment  # noqa: E402
from cnsifusion.training.learners import CONFOUNDERS, Candidate  # noqa: E402
from cnsifusion.training.maps import load_maps  # noqa: E402
from cnsifusion.training.metrics import fold_auc  # noqa: E402
from cnsifusion.training.nested import join, load_fold  # noqa: E402
from cnsifusion.training.settings import ABLATIONS, TrainingSettings  # noqa: E402
from cnsifusion.training.tasks import run_tasks  # noqa: E402
from cnsifusion.training.train import train_bundle  # noqa: E402
from cnsifusion.training.validation import CAUGHT, positive_controls  # noqa: E402


def mean_auc(cohort, folds):
    return fold_auc(join(cohort, folds, cohort.labels))


@pytest.fixture
def strong(tmp_path):
    """Both a feature and a spot in the picture tell the label."""
    return make_cohort(tmp_path / "cases", patients=36, effect=3.0, spot=3.0)


def test_augmentations_do_not_depend_on_the_name_of_the_cached_file(tmp_path):
    cohort = make_cohort(tmp_path / "cases", patients=2, effect=0.0)
    renamed = [shutil.copy(case, tmp_path / f"{n}.npz") for n, case in enumerate(cohort.cases)]
    experiment = open_experiment(tmp_path, cohort, settings=replace(SETTINGS, augmentations=1))
    model = get_model("mobilenetv3-large")
    one, other = (experiment.maps(c, model) for c in (cohort, replace(cohort, cases=renamed)))
    assert not set(one) & set(other)
    assert np.array_equal(load_maps(one).values, load_maps(other).values)


def test_every_kind_of_model_learns_what_is_there(tmp_path, strong):
    experiment = open_experiment(tmp_path, strong)
    rows = ["radiomics-logistic", "radiomics-boosting", "mobile-aspp-radfusion", "mobilenetv3-large", "age-sex"]
    found = experiment.run(strong, rows)
    assert list(found) == rows and all([f.fold for f in folds] == [0, 1, 2] for folds in found.values())
    areas = {row: mean_auc(strong, folds) for row, folds in found.items()}
    assert min(areas[r] for r in rows[:4]) > 0.7, areas
    assert areas["age-sex"] < 0.75
    for folds in found.values():
        assert sorted(np.concatenate([f.patients for f in folds])) == list(range(36))
        assert all(0 < f.thresholds["sensitivity95"] < 1 for f in folds)
    for f in found["radiomics-logistic"]:
        assert len(f.columns) == 4 and f.frequency.sum() == pytest.approx(4)  # over the inner folds


def test_the_network_sees_what_radiomics_cannot(tmp_path):
    """A spatial effect that no feature carries."""
    cohort = make_cohort(tmp_path / "cases", patients=36, effect=0.0, spot=5.0)
    found = open_experiment(tmp_path, cohort).run(cohort, ["radiomics-logistic", "mobile-aspp-radfusion"])
    areas = {row: mean_auc(cohort, folds) for row, folds in found.items()}
    assert areas["mobile-aspp-radfusion"] > 0.75 and areas["radiomics-logistic"] < 0.75


def test_interrupted_work_resumes_to_the_bit_and_processes_do_not_matter(tmp_path, strong):
    """One process, one process interrupted after a fold, and two processes write the same numbers."""
    rows, results = ["mobile-aspp-radfusion", "radiomics-logistic"], []
    for name in ("whole", "resumed", "two"):
        folder = tmp_path / name
        folder.mkdir()
        experiment = open_experiment(folder, strong, jobs=2 if name == "two" else 1)
        if name == "resumed":
            shutil.copytree(tmp_path / "whole" / "folds", folder / "folds")
            kept, *lost = sorted((folder / "folds").glob("mobile*.npz"))
            stamp = kept.stat().st_mtime_ns
            for path in lost:
                path.unlink()
        found = experiment.run(strong, rows)
        if name == "resumed":
            assert kept.stat().st_mtime_ns == stamp  # not computed again
        results.append({row: [np.concatenate([f.logits, f.scores]) for f in folds] for row, folds in found.items()})
    for other in results[1:]:
        for row in rows:
            assert all(np.array_equal(a, b) for a, b in zip(results[0][row], other[row]))


def test_a_half_written_result_is_never_read(tmp_path, strong):
    experiment = open_experiment(tmp_path, strong)
    experiment.run(strong, ["radiomics-logistic"])
    names = {p.name for p in (tmp_path / "folds").iterdir()}
    assert len(names) == 3 and all(n.endswith(".npz") and not n.startswith(".") for n in names)
    for path in (tmp_path / "folds").iterdir():
        assert load_fold(path).row == "radiomics-logistic"


def test_another_state_of_the_program_goes_on_with_nothing(tmp_path, strong, monkeypatch):
    experiment = open_experiment(tmp_path, strong)
    experiment.run(strong, ["radiomics-logistic"])
    before = set((tmp_path / "folds").iterdir())
    for room in (nested, maps):
        monkeypatch.setattr(room, "learning_source", lambda: "the source of another day")
    experiment.run(strong, ["radiomics-logistic"])
    after = set((tmp_path / "folds").iterdir())
    assert len(after) == 2 * len(before)


def test_other_settings_are_other_results(tmp_path, strong):
    """A cached fold is never taken for another seed, label or setting."""
    experiment = open_experiment(tmp_path, strong)
    for changed in (SETTINGS, replace(SETTINGS, seed=1), replace(SETTINGS, feature_counts=(5,))):
        replace(experiment, settings=changed).run(strong, ["radiomics-logistic"])
    experiment.run(strong, ["radiomics-logistic"], permutation=1)
    assert len(list((tmp_path / "folds").iterdir())) == 12


def test_the_fold_model_knows_nothing_of_its_test_patients(tmp_path, strong):
    """Their labels turned and their numbers changed: selection, scaling, calibration, threshold, weights are the same.
    """
    outer, rows = np.arange(36) // 2 % 3, ["radiomics-logistic", "age-sex", "acquisition"]
    unseen = np.flatnonzero(outer == 0)
    labels, features, quantities = strong.labels.copy(), strong.features.copy(), strong.quantities.copy()
    altered, age = strong.altered.copy(), strong.age.copy()
    labels[unseen], age[unseen] = 1 - labels[unseen], np.nan
    quantities[unseen] += 50
    inside = np.isin(strong.patient, unseen)
    features[inside] = 100 - features[inside]
    altered[:, inside] = -1000
    other = replace(strong, labels=labels, features=features, altered=altered, age=age, quantities=quantities, key="x")
    found = []
    for cohort in (strong, other):
        found.append(open_experiment(tmp_path, cohort).run(cohort, rows, outer=outer))
    for row in rows:
        one, two = (each[row][0] for each in found)
        assert np.array_equal(one.patients, unseen) and np.array_equal(two.patients, unseen)
        assert (one.platt, one.thresholds, one.choice) == (two.platt, two.thresholds, two.choice)
        for name in ("columns", "impute", "mean", "scale", "frequency"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), (row, name)
        assert all(np.array_equal(one.state[name], two.state[name]) for name in one.state)
    assert not np.array_equal(*(each[rows[0]][0].scores for each in found))
    assert found[0][rows[0]][1].thresholds != found[1][rows[0]][1].thresholds  # the other folds did learn from them


def test_every_patient_is_judged_by_the_fold_model_that_never_saw_it(tmp_path, strong):
    outer = np.arange(36) // 2 % 3
    folds = open_experiment(tmp_path, strong).run(strong, ["radiomics-logistic"], outer=outer)["radiomics-logistic"]
    labels = strong.labels + 10 * np.arange(36)  # tell the patient
    told = join(strong, folds, labels)
    assert sorted(told.patients) == list(range(36)) and len({f.thresholds["sensitivity95"] for f in folds}) == 3
    for n, patient in enumerate(told.patients):
        own = folds[outer[patient]]
        score = own.scores[own.patients.tolist().index(patient)]
        assert (told.fold[n], told.labels[n], told.score[n]) == (outer[patient], labels[patient], score)
        assert told.threshold[n] == own.thresholds["sensitivity95"]
        assert told.probability[n] == pytest.approx(own.platt(np.array([score]))[0])
    assert np.array_equal(told.patients[told.owner], strong.patient[told.instances])
    expected = [f.platt(np.array([logit]))[0] for f in folds for logit in f.logits]
    assert told.instance_probability == pytest.approx(expected)


def test_calibration_and_threshold_see_no_score_of_a_member_that_trained_on_the_patient(tmp_path, strong, monkeypatch):
    """Members that answer 1 where they were trained and 0 elsewhere: all that the fold is calibrated on must be 0."""
    seen = {}

    def members(task, cohort, training):
        trained = [np.isin(np.arange(len(cohort.patient)), rows) for rows in training]
        seen["shares"] = [np.unique(cohort.patient[rows]).size for rows in training]
        return [Candidate("memory", np.stack(trained, axis=1).astype(float))]

    def result(task, cohort, best, train_patients, inner_scores):
        seen["inner"], seen["train"] = inner_scores, train_patients
        return keep(task, cohort, best, train_patients, inner_scores)

    keep = nested._result
    monkeypatch.setattr(nested, "_candidates", members)
    monkeypatch.setattr(nested, "_result", result)
    outer = np.arange(36) // 2 % 3
    for fold in open_experiment(tmp_path, strong).run(strong, ["age-sex"], outer=outer)["age-sex"]:
        assert not fold.scores.any() and np.array_equal(fold.patients, np.flatnonzero(outer == fold.fold))
        assert fold.platt(np.zeros(1)) == pytest.approx(0.5)  # from these very scores, and half are infected
    assert seen["shares"] == [16, 16, 16, 24] and not seen["inner"].any()
    assert np.array_equal(seen["train"], np.flatnonzero(outer != 2))


@pytest.fixture
def null(tmp_path):
    """No effect at all, but instances of one patient resemble each other."""
    return make_cohort(tmp_path / "null", patients=60, effect=0.0, spot=0.0, features=120, instances=5)


def test_shuffled_labels_give_chance(tmp_path, null):
    experiment = open_experiment(tmp_path, null)
    areas = [fold_auc(experiment.predictions(null, "radiomics-logistic", k)) for k in range(1, 9)]
    assert abs(np.mean(areas) - 0.5) < 3 * np.std(areas) / np.sqrt(len(areas)) + 0.02


def test_deliberate_leaks_are_caught(tmp_path, null):
    for name, areas in positive_controls(open_experiment(tmp_path, null), null, 2).items():
        assert np.mean(areas) > CAUGHT, name


def test_a_linked_scanner_is_said_aloud(tmp_path, strong):
    experiment = open_experiment(tmp_path, strong)
    quantities = strong.quantities.copy()
    quantities[:, 0] += 0.3 * strong.labels  # noise goes along with the label
    linked = replace(strong, quantities=quantities, key="linked")
    linked.save(experiment.cohort_path(linked))
    for cohort, expected in ((strong, 0), (linked, 1)):
        result = Evaluation(cohort, cohort.labels)
        folds = experiment.run(cohort, ["acquisition"])["acquisition"]
        result.predictions["acquisition"] = join(cohort, folds, cohort.labels)
        warnings = _confounding(result)
        assert len(warnings) == expected
        assert all(f"limit {ACQUISITION_LIMIT}" in w for w in warnings)
    first = replace(result.predictions["acquisition"], score=-result.predictions["acquisition"].score)
    result.predictions["acquisition"] = first  # told over all patients, not within the folds
    assert float(_confounding(result)[0].split("AUC of ")[1][:4]) > ACQUISITION_LIMIT


def test_every_confounder_row_sees_its_covariates(tmp_path, strong):
    """What goes along with the label is found by the rows that are made of it, and by no other."""
    linked = 3.0 * strong.labels + np.random.default_rng(0).normal(size=36)
    for name, rows in (("age", {"age-sex", "age-sex-pvs-ventricles"}), ("male", {"age-sex", "age-sex-pvs-ventricles"}),
                       ("ventricle_ml", {"age-sex-pvs-ventricles"}), ("pixel_mm", {"acquisition"})):  # fmt: skip
        changed = {name: linked}
        if name in QUANTITIES:
            changed = {"quantities": strong.quantities.copy()}
            changed["quantities"][:, QUANTITIES.index(name)] = linked
        cohort = replace(strong, **changed, key=f"linked {name}")
        found = open_experiment(tmp_path, cohort).run(cohort, list(CONFOUNDERS))
        assert {row for row, folds in found.items() if mean_auc(cohort, folds) > 0.85} == rows, name


def test_evaluation_writes_everything(tmp_path, strong, monkeypatch):
    monkeypatch.setattr(Experiment, "cohort", lambda self: strong)
    own = tmp_path / "out" / "features.csv"
    own.parent.mkdir()
    own.write_text("a table of somebody else's")
    with pytest.raises(BadInput, match="other files"):
        evaluate_models(open_experiment(tmp_path, strong), ["radiomics-logistic"], tmp_path / "out")
    own.unlink()
    report = evaluate_models(open_experiment(tmp_path, strong), ["radiomics-logistic"], tmp_path / "out")
    intervals = (tmp_path / "out" / "patient_intervals.csv").read_bytes()
    twice = ["radiomics-logistic"] * 2  # must not count every patient twice
    assert evaluate_models(open_experiment(tmp_path, strong), twice, tmp_path / "out") == report
    assert (tmp_path / "out" / "patient_intervals.csv").read_bytes() == intervals
    text = report.read_text("utf-8")
    for words in ("other patients, unit not stated, not comparable", "SIMULATED", "84.09", "Research use only"):
        assert words.lower() in text.lower()
    assert text.count("data:image/png") >= 5
    header = (tmp_path / "out" / "patient_metrics.csv").read_text().splitlines()[0]
    assert header.startswith("model,strategy,fold,auc,accuracy,precision")
    for name in ("predictions", "roc", "calibration", "decision", "features", "scales", "differences", "ablations"):
        assert (tmp_path / "out" / f"{name}.csv").stat().st_size > 0
    ranked = (tmp_path / "out" / "features.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0] for line in ranked} == {"radiomics-logistic"}  # confounders are no features


def test_a_lost_worker_costs_its_own_tasks_only(tmp_path):
    """A worker dies in the middle of its task, as when memory runs out, when others were finished; the run goes on."""
    words = [str(tmp_path / str(n)) for n in range(5)]
    told = []

    def kept(done, total, name):
        told.append((done, total))
        (tmp_path / "kept").write_text("x" if done == 4 else "")  # so that one task alone is left

    assert run_tasks(workers.die_once, words, jobs=2, progress=kept) == words
    assert told == [(done, 5) for done in range(6)]
    with pytest.raises(BrokenExecutor) as ended:
        run_tasks(workers.die, words, jobs=2)
    assert failure(ended.value).exit_code == 4 and "fewer --jobs" in str(failure(ended.value))


def test_no_silent_random_backbone(tmp_path, strong):
    with pytest.raises(BadInput, match="allow-random-backbone"):
        open_experiment(tmp_path, strong, allow_random_backbone=False).run(strong, ["densenet201"])
    with pytest.raises(BadInput, match="not exported"):
        train_bundle(open_experiment(tmp_path, strong), "radiomics-boosting", tmp_path / "b")


def test_settings_round_trip_and_refuse():
    assert TrainingSettings.from_dict(SETTINGS.to_dict()) == SETTINGS
    for wrong in ({"fold": 5}, {"folds": 1}, {"selectors": ["x"]}, {"patches": {"size": 3}}, {"folds": "many"}, [],
                  {"seed": -1}, {"seed": 1.5}, {"folds": 5.0}, {"checkpoints": [5, True]}, {"ablations": ["shape"]},
                  {"ablations": "with-shape"}, {"leave_site_out": "no"}, {"preparation": {"bias_correction": "false"}},
                  {"patches": {"mask_channel": "no"}}, {"learning_rate": "fast"}):  # fmt: skip
        with pytest.raises(BadInput):
            TrainingSettings.from_dict(wrong)
    assert set(_CHANGES) == set(ABLATIONS)
    assert [replace(SETTINGS, sensitivity=s).threshold for s in (0.95, 0.9, 0.975)] == [
        "sensitivity95", "sensitivity90", "sensitivity97.5"
    ]  # fmt: skip
    fine = TrainingSettings(preparation=PreparationSettings(pixel_mm=0.4))
    assert all(change(fine).preparation.pixel_mm == 0.4 for change in _CHANGES.values())


def test_a_dask_cluster_gives_the_same_numbers(tmp_path, strong):
    distributed = pytest.importorskip("distributed")
    alone = open_experiment(tmp_path, strong).run(strong, ["radiomics-logistic"])["radiomics-logistic"]
    folder = tmp_path / "cluster"
    folder.mkdir()
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None, processes=True) as cluster:
        experiment = open_experiment(folder, strong, scheduler=cluster.scheduler_address)
        there = experiment.run(strong, ["radiomics-logistic"])["radiomics-logistic"]
    assert all(np.array_equal(a.logits, b.logits) for a, b in zip(alone, there))
    with pytest.raises(BadInput, match="does not answer"):
        open_experiment(folder, strong, scheduler="tcp://127.0.0.1:9").run(strong, ["age-sex"])


def test_finetuning_learns_too(tmp_path):
    """The whole network, from the same backbone, on patches: a spatial effect is found."""
    cohort = make_cohort(tmp_path / "cases", patients=20, effect=0.0, spot=5.0, instances=2)
    quick = {"folds": 2, "inner_folds": 2, "checkpoints": (6,), "batch": 8, "augmentations": 0, "learning_rate": 0.01}
    settings = replace(SETTINGS, regime="finetune", **quick)
    experiment = open_experiment(tmp_path, cohort, settings=settings)
    found = experiment.run(cohort, ["mobilenetv3-large"])
    assert mean_auc(cohort, found["mobilenetv3-large"]) > 0.75
    with pytest.raises(BadInput, match="frozen"):
        train_bundle(experiment, "mobilenetv3-large", tmp_path / "b")


def test_a_site_or_a_row_that_is_left_out_costs_a_sentence_and_not_the_evaluation(tmp_path, monkeypatch):
    """8 + 8 patients, most of them at one site: without it too few are left for the inner folds. Nobody's age is known.
    """
    cohort = make_cohort(tmp_path / "cases", patients=16)
    cohort = replace(cohort, site=np.array(["A"] * 12 + ["B"] * 4), age=np.full(16, np.nan), key="sites")
    monkeypatch.setattr(Experiment, "cohort", lambda self: cohort)
    report = evaluate_models(open_experiment(tmp_path, cohort), ["radiomics-logistic"], tmp_path / "out")
    text = report.read_text("utf-8")
    assert "Leave-one-site-out was left out: too few patients" in text
    assert "The row age-sex was left out: a part of it" in text
    assert "The row acquisition" not in text
