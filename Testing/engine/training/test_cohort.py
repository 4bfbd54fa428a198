"""Patients of cached cases as one cohort: what belongs to whom, whoever is left out or labelled anew."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from cnsifusion.radiomics import RadiomicsSettings
from cnsifusion.training.cases import QUANTITIES, CaseResult
from cnsifusion.training.cohort import Cohort, _join, _problems, feature_table, instance_weights, patient_mean
from cnsifusion.training.manifest import UNKNOWN, Manifest, Patient

SETTINGS = RadiomicsSettings(log_mode="2D")
PATIENTS = [
    Patient("a", Path("a.nii"), None, 1, site="Basel", age=44.0, sex="F"),
    Patient("b", Path("b.nii"), None, UNKNOWN, sex="male"),
    Patient("c", Path("c.nii"), None, 0, site="Bern", age=61.5),
]
COUNTS = (2, 1, 3)


@pytest.fixture
def joined(tmp_path) -> Cohort:
    """Three patients with 2, 1 and 3 instances whose numbers tell the patient, the instance and the alteration."""
    paths = []
    for number, count in enumerate(COUNTS):
        of = 100.0 * number + np.arange(count)
        keys = [f"sublentiform|{'left' if n % 2 else 'right'}|{10 * number + n}" for n in range(count)]
        paths.append(str(tmp_path / f"{number}.npz"))
        np.savez(
            paths[-1],
            keys=np.array(keys),
            part=np.array([f"part{number}"] * count),
            side=np.array([key.split("|")[1] for key in keys]),
            names=np.array(["f0", "f1"]),
            features=np.stack([np.stack([of, of + 0.5], axis=1) + 1000 * kind for kind in range(4)]),
            quantities=np.full(len(QUANTITIES), float(number)),
            patches=np.full((count, 2, 4, 4), number, np.float16),
            about=np.array(json.dumps({"warnings": [], "reasons": []})),
        )
    return _join(Manifest(Path("m.csv"), PATIENTS, True), paths, SETTINGS)


def test_every_instance_stays_with_its_patient(joined) -> None:
    assert joined.patient.tolist() == [0, 0, 1, 2, 2, 2] and joined.patient_ids.tolist() == ["a", "b", "c"]
    assert joined.features.tolist() == [[v, v + 0.5] for v in (0.0, 1.0, 100.0, 200.0, 201.0, 202.0)]
    assert np.array_equal(joined.altered, joined.features + 1000 * np.arange(1, 4)[:, None, None])
    assert joined.labels.tolist() == [1, UNKNOWN, 0] and joined.site.tolist() == ["Basel", "", "Bern"]
    assert np.array_equal(joined.age, [44.0, np.nan, 61.5], equal_nan=True)
    assert np.array_equal(joined.male, [0.0, 1.0, np.nan], equal_nan=True)
    assert joined.quantities[:, 0].tolist() == [0, 1, 2] and joined.radiomics == SETTINGS
    assert joined.part.tolist() == ["part0", "part0", "part1", "part2", "part2", "part2"]
    assert joined.patches()[:, 0, 0, 0].tolist() == joined.patient.tolist()
    assert [key.split("|")[1] for key in joined.keys] == joined.side.tolist()
    assert patient_mean(joined, joined.features[:, 0]).tolist() == [0.5, 100.0, 201.0]
    assert np.bincount(joined.patient, instance_weights(joined)) == pytest.approx([1, 1, 1])
    table = feature_table(joined)
    assert table.ids["patient_id"] == ["a", "a", "b", "c", "c", "c"]
    assert table.ids["label"] == [1, 1, None, 0, 0, 0] and table.ids["slice"] == [0, 1, 10, 20, 21, 22]
    assert "label" not in feature_table(replace(joined, labels=np.full(3, UNKNOWN))).ids


def test_patients_left_out_take_all_of_theirs_along(joined, tmp_path) -> None:
    some = joined.of_patients(np.array([0, 2]))
    assert some.patient.tolist() == [0, 0, 1, 1, 1] and some.patient_ids.tolist() == ["a", "c"]
    rows = [0, 1, 3, 4, 5]
    for name in ("keys", "part", "side", "features"):
        assert np.array_equal(getattr(some, name), getattr(joined, name)[rows]), name
    assert np.array_equal(some.altered, joined.altered[:, rows]) and some.labels.tolist() == [1, 0]
    assert some.age.tolist() == [44.0, 61.5] and some.quantities[:, 0].tolist() == [0, 2]
    assert some.patches()[:, 0, 0, 0].tolist() == [0, 0, 2, 2, 2]
    some.save(tmp_path / "some.npz")
    again = Cohort.load(tmp_path / "some.npz")
    for one in fields(Cohort):
        assert np.array_equal(getattr(again, one.name), getattr(some, one.name), equal_nan=one.name in ("age", "male"))


def test_the_key_tells_apart_what_is_not_the_same_data(joined) -> None:
    """Work is cached under it: the labels shuffled, a patient left out, other names or labels in the manifest."""
    turned = joined.with_labels(joined.labels[::-1])
    assert turned.labels.tolist() == [0, UNKNOWN, 1] and np.array_equal(turned.features, joined.features)
    manifests = ([replace(p, label=0) for p in PATIENTS], [replace(p, patient_id=p.patient_id * 2) for p in PATIENTS])
    others = [_join(Manifest(Path("m.csv"), p, True), list(joined.cases), SETTINGS) for p in manifests]
    moved = [str(Path(path).rename(Path(path).with_stem(f"other settings {n}"))) for n, path in enumerate(joined.cases)]
    others.append(_join(Manifest(Path("m.csv"), PATIENTS, True), moved, SETTINGS))
    all_of_them = [joined, turned, joined.of_patients(np.array([0, 2])), joined.of_patients(np.array([0, 1])), *others]
    assert len({one.key for one in all_of_them}) == len(all_of_them)


def test_a_copy_is_told_of_the_first_line_that_can_be_used() -> None:
    results = [CaseResult((), "no brain", "x"), *(CaseResult(("p",), "", image) for image in "xyxy")]
    told = list(_problems([2, 3, 5, 6, 9], results))
    assert told == ["no brain", "", "", "the same image as in line 3", "the same image as in line 5"]
