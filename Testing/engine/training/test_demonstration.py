"""The bundle that ships: made by the recipe in the code, small enough, and honest about what it is."""

import pytest

pytest.importorskip("torch")

from cnsifusion.bundles import default_bundle_dir, load_bundle
from cnsifusion.simulation import SimulationSettings, simulate_cohort
from cnsifusion.training.demonstration import _without_regions, changed_rooms, recipe_hash
from cnsifusion.training.manifest import read_manifest
from cnsifusion.training.train import source_hashes


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(default_bundle_dir())


def test_it_was_made_with_this_engine_and_these_settings(bundle):
    """After a change of recipe: make bundle, look at its card, commit it."""
    assert bundle.settings.provenance["recipe_hash"] == recipe_hash()


def test_the_rooms_whose_source_changed_are_named(tmp_path):
    """A bundle carries the hash of every room's source; ``make bundle ARGS=--check`` names those that changed."""
    assert changed_rooms({"source": source_hashes()}) == [] and changed_rooms({}) == list(source_hashes())
    (tmp_path / "inference.py").write_text("a = 1\n")
    of_file = source_hashes(tmp_path)["inference.py"]
    (tmp_path / "inference.py").write_text("a = 2\n")
    assert source_hashes(tmp_path)["inference.py"] != of_file
    room = tmp_path / "models"
    room.mkdir()
    seen = []
    for text in ("a = 1\n", "a = 2\n"):
        (room / "a.py").write_text(text)
        seen.append(source_hashes(tmp_path))
    assert [name for name in seen[0] if seen[0][name] != seen[1][name]] == ["models"]
    assert changed_rooms({"source": {**source_hashes(), "models": seen[0]["models"]}}) == ["models"]


def test_it_learns_from_proposed_regions(tmp_path):
    manifest = simulate_cohort(tmp_path, 1, 1, 4, SimulationSettings(), view="deep")
    proposed = read_manifest(_without_regions(manifest), folds=0)
    assert all(patient.rois for patient in read_manifest(manifest, folds=0).patients)
    assert [(p.rois, p.mask_origin) for p in proposed.patients] == [(None, "automatic")] * 2
    assert proposed.simulated


def test_it_is_small_enough():
    assert sum(p.stat().st_size for p in default_bundle_dir().iterdir()) < 15e6


def test_it_says_that_it_is_a_demonstration(bundle):
    settings = bundle.settings
    assert settings.demonstration and settings.cohort.simulated
    assert "simulated" in settings.demonstration_text.lower()
    assert settings.architecture.backbone_origin == "simulated"
    assert "SIMULATED" in settings.figures_describe
    assert settings.region == "sublentiform" and settings.architecture.model == "mobile-aspp-radfusion"
    assert settings.architecture.cell_mm <= 4
