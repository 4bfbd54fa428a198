"""A simulated cohort on disk."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from simulation_quick import draw_cohort, quick

from cnsifusion.cli import main
from cnsifusion.errors import BadInput
from cnsifusion.imaging import read_image
from cnsifusion.roi.names import VENTRICLES
from cnsifusion.roi.region_io import read_regions
from cnsifusion.simulation import simulate_cohort, simulate_patient
from cnsifusion.simulation.cohort import members, patient_seed


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    lines = []
    manifest = simulate_cohort(out, 1, 1, 4, quick(), progress=lambda *event: lines.append(event))
    return manifest, lines


def read(manifest):
    with manifest.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_manifest_images_and_regions_fit_and_tell_the_truth(cohort):
    manifest, lines = cohort
    rows = read(manifest)
    assert sorted(r["label"] for r in rows) == ["0", "1"]
    assert {r["mask_origin"] for r in rows} == {"truth"}
    assert lines == [(done, 2, "Simulate patients") for done in range(3)]
    about = json.loads((manifest.parent / "simulation.json").read_text())
    assert about["settings"] == json.loads(json.dumps(quick().to_dict()))
    row = next(r for r in rows if r["label"] == "1")
    patient = simulate_patient(patient_seed(4, True, 0), True, quick())
    volume = read_image(manifest.parent / row["image"])
    assert volume.grid == patient.volume.grid
    np.testing.assert_array_equal(volume.array, patient.volume.array)
    regions = read_regions(manifest.parent / row["rois"], volume)
    np.testing.assert_array_equal(regions.masks[VENTRICLES], patient.truth.masks[VENTRICLES])
    assert float(row["age"]) == patient.latents["age"]


def test_a_cohort_resumes_grows_and_is_the_same_with_two_processes(cohort, tmp_path):
    manifest, _ = cohort
    again = []
    simulate_cohort(manifest.parent, 1, 1, 4, quick(), progress=lambda *event: again.append(event))
    assert again == [(2, 2, "Simulate patients")]  # nothing was simulated again
    parallel = simulate_cohort(tmp_path, 1, 1, 4, quick(), jobs=2)
    assert parallel.read_bytes() == manifest.read_bytes()
    for row in read(manifest):
        first, second = (read_image(m.parent / row["image"]).array for m in (manifest, parallel))
        np.testing.assert_array_equal(first, second)


def test_another_cohort_is_not_written_over(cohort):
    manifest, _ = cohort
    before = manifest.read_bytes()
    with pytest.raises(BadInput, match="another seed, settings or version"):
        simulate_cohort(manifest.parent, 1, 1, 5, quick())
    with pytest.raises(BadInput, match="another seed, settings or version"):
        simulate_cohort(manifest.parent, 1, 1, 4, replace(quick(), strength=0.5))
    assert manifest.read_bytes() == before


def test_a_cohort_of_another_state_of_the_program_is_not_gone_on_with(cohort, monkeypatch):
    """A newer clone of the same version took the patients of an older one for its own."""
    manifest, _ = cohort
    monkeypatch.setattr("cnsifusion.simulation.cohort.simulation_source", lambda: "the source of another day")
    with pytest.raises(BadInput, match="another state of this program began"):
        simulate_cohort(manifest.parent, 1, 2, 4, quick())
    assert len(read(manifest)) == 2


def test_a_real_cohorts_manifest_is_not_written_over(tmp_path):
    (tmp_path / "manifest.csv").write_text("patient_id,image,rois,label\n")
    with pytest.raises(BadInput, match="not simulated"):
        simulate_cohort(tmp_path, 1, 1, 4, quick())
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.csv"]


def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path):
    for patients, controls, seed in ((-1, 2, 0), (0, 0, 0), (1, 1, -1)):
        with pytest.raises(BadInput, match="numbers of patients and controls"):
            simulate_cohort(tmp_path / "x", patients, controls, seed)
    assert not (tmp_path / "x").exists()


def test_confounders_are_named_at_the_command_line(tmp_path, capsys):
    words = ["simulate", str(tmp_path / "out"), "--patients", "1", "--controls", "0", "--seed", "1", "--view", "deep"]
    assert main([*words, "--confounders", "noise,shoes"]) == 2
    assert "confounders may be noise, sharpness, site, age" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--confounders", "noise, site"]) == 0
    about = json.loads((tmp_path / "out" / "simulation.json").read_text("utf-8"))
    assert about["settings"]["confounders"] == ["noise", "site"]


def test_seeds_are_disjoint_and_a_patient_does_not_depend_on_the_cohort_s_size():
    seeds = [m.seed for s in range(4) for m in members(50, 50, s)]
    assert len(set(seeds)) == len(seeds)
    small, large = ({m.seed: m for m in members(n, n, 2)} for n in (5, 9))
    assert all(large[s] == m for s, m in small.items())
    drawn = {r["seed"]: r for r in draw_cohort(9, 9, 2, quick())}
    assert all(drawn[r["seed"]] == r for r in draw_cohort(5, 5, 2, quick()))
    # Identifiers mix the classes: their order says nothing of the label.
    labels = [m.infected for m in members(200, 200, 0)]
    assert 70 < sum(labels[:200]) < 130
