"""The table and the settings that travel with every number; missing values and refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from radiomics_cases import discs, image

from cnsifusion.errors import BadInput
from cnsifusion.imaging.volume import Acquisition
from cnsifusion.radiomics import (
    FeatureTable,
    RadiomicsSettings,
    RegionMask,
    extract,
    extract_with_pyradiomics,
    feature_names,
)
from cnsifusion.radiomics.settings import ENGINE

SMALL = RadiomicsSettings(log_sigmas_mm=(1.0,), feature_classes=("shape2D", "firstorder", "ngtdm"))


def table(settings=SMALL, **identification):
    volume = image(shape=(6, 40, 40))
    regions = [replace(r, identification={**r.identification, **identification}) for r in discs(volume, (4.0, 8.0))]
    empty = RegionMask("empty", np.zeros((40, 40), bool), 2, identification)
    return extract(volume, [*regions, empty], settings)


def assert_same(a: FeatureTable, b: FeatureTable) -> None:
    assert (a.ids, a.names, a.types, a.reasons, a.metadata) == (b.ids, b.names, b.types, b.reasons, b.metadata)
    np.testing.assert_array_equal(a.values, b.values)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_survives_its_file_to_the_last_bit(tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    written = table(patient="p, \"1\"", slice=3, left=True, weight=0.1)
    written.write(tmp_path / f"t.{ending}")
    read = FeatureTable.read(tmp_path / f"t.{ending}")
    assert_same(read, written)
    assert read.types == {
        "instance": "str", "radius": "float", "number": "int", "patient": "str", "slice": "int", "left": "bool",
        "weight": "float",
    }  # fmt: skip
    assert read.ids["number"] == [0, 1, None]
    files = {"csv": ["t.csv", "t.csv.json"], "parquet": ["t.parquet"]}
    assert sorted(p.name for p in tmp_path.iterdir()) == files[ending]


def test_a_full_disk_leaves_no_half_of_a_pair(tmp_path, monkeypatch):
    """Nor a former table beside the reasons of another."""
    def full(*words, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cnsifusion.radiomics.table.csv.writer", full)
    with pytest.raises(BadInput, match="could not be written"):
        table().write(tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []


def test_the_csv_alone_says_which_engine_made_it(tmp_path):
    written = table()
    written.write(tmp_path / "t.csv")
    header, first, *_ = (tmp_path / "t.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), first.split(",")))
    assert cells["engine"] == ENGINE and cells["settings_hash"] == SMALL.hash
    assert float(cells["original_firstorder_Mean"]) == written.column("original_firstorder_Mean")[0]


def test_metadata_hold_the_whole_settings():
    described = table().metadata
    assert RadiomicsSettings.from_dict(json.loads(json.dumps(described["settings"]))) == SMALL
    assert described["settings_hash"] == SMALL.hash


def test_joining_rows_keeps_their_reasons():
    one, two = table(patient="a"), table(patient="b", extra=1)
    joined = FeatureTable.concat([one, two])
    assert joined.ids["patient"] == ["a"] * 3 + ["b"] * 3 and joined.ids["extra"] == [None] * 3 + [1] * 3
    assert joined.reason(5, "original_firstorder_Mean") == "the region is empty"
    np.testing.assert_array_equal(joined.values, np.concatenate([one.values, two.values]))
    with pytest.raises(BadInput, match="different settings"):
        FeatureTable.concat([one, table(replace(SMALL, gldm_a=1))])


@pytest.mark.parametrize("damage", ["no sidecar", "edited", "empty", "other"])
def test_a_damaged_table_is_refused(tmp_path, damage):
    path = tmp_path / "t.csv"
    table().write(path)
    if damage == "no sidecar":
        (tmp_path / "t.csv.json").unlink()
    elif damage == "edited":
        path.write_text(path.read_text().replace("0.", "x."))
    elif damage == "empty":
        path.write_text("")
    else:
        path = tmp_path / "t.xlsx"
    with pytest.raises(BadInput):
        FeatureTable.read(path)


def test_a_foreign_parquet_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    (tmp_path / "u.parquet").write_bytes(b"nothing")
    for name in ("t.parquet", "u.parquet", "absent.parquet"):
        with pytest.raises(BadInput):
            FeatureTable.read(tmp_path / name)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInput, match="pyarrow"):
        table().write(tmp_path / "t.parquet")


def test_the_reference_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "radiomics", None)
    with pytest.raises(BadInput, match="pyradiomics-bhklab"):
        extract_with_pyradiomics(image(), [], SMALL)


@pytest.mark.parametrize(
    ("ids", "shape"), [({"id": ["a", "b"]}, (2, 2)), ({"id": ["a", "b"]}, (3, 1)), ({"id": ["a"], "side": []}, (1, 1))]
)
def test_rows_and_columns_fit_together(ids, shape):
    with pytest.raises(ValueError, match="do not fit"):
        FeatureTable(ids, ["x"], np.zeros(shape), {}, {})


def test_an_unknown_feature_is_refused():
    with pytest.raises(BadInput, match="no feature"):
        table().column("original_glcm_Nothing")


CHANGES = {
    "bin_width": {"original": 1.0, "log": 2.0}, "bin_count": 8, "original": False, "log_sigmas_mm": (2.0,),
    "log_mode": "2D", "force_2d": False, "force_2d_axis": 1, "feature_classes": ("glcm",), "distances": (2,),
    "gldm_a": 1, "voxel_array_shift": 5.0, "minimum_dimensions": 1, "standard_deviation": True, "normalize": True,
    "normalize_scale": 2.0, "remove_outliers": 3.0,
}  # fmt: skip


def test_every_setting_changes_the_hash_and_survives_json():
    assert set(CHANGES) == {f.name for f in fields(RadiomicsSettings)}
    base = RadiomicsSettings(feature_classes=("firstorder",))
    hashes = {base.hash}
    for name, value in CHANGES.items():
        changed = replace(base, **{name: value})
        assert RadiomicsSettings.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed
        hashes.add(changed.hash)
    assert len(hashes) == len(CHANGES) + 1
    assert base.digest("pyradiomics", "3") != base.hash


@pytest.mark.parametrize(
    "wrong",
    [
        {"log_mode": "4D"}, {"feature_classes": ("glcm", "wavelet")}, {"log_sigmas_mm": (0.0,)}, {"bin_count": 0},
        {"log_sigmas_mm": (1, 1.0)}, {"bin_width": {"original": 5.0}}, {"bin_width": {"original": -1, "log": 1}},
        {"distances": ()}, {"distances": (0,)}, {"gldm_a": -1}, {"force_2d_axis": 3}, {"minimum_dimensions": 0},
        {"force_2d": False, "feature_classes": ("shape2D",)}, {"original": False, "log_sigmas_mm": ()},
        {"nonsense": 1}, {"bin_width": 25}, {"log_sigmas_mm": ("a",)}, {"log_sigmas_mm": (1e-9,)},
        {"normalize": "false"}, {"force_2d": 1}, {"distances": (1.7,)}, {"bin_count": 2.5}, {"bin_count": True},
        {"gldm_a": 0.5}, {"voxel_array_shift": float("nan")}, {"log_sigmas_mm": "1"}, {"normalize_scale": -1},
        {"remove_outliers": 0},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(BadInput, match="Radiomics settings"):
        RadiomicsSettings.from_dict(wrong)


def test_one_width_for_all_images_as_pyradiomics_takes_it_is_told_what_is_needed():
    with pytest.raises(BadInput, match="by image type"):
        RadiomicsSettings.from_dict({"bin_width": 25})


def test_names_are_pyradiomics_names_and_complete():
    names = feature_names(RadiomicsSettings())
    assert len(names) == 9 + 6 * 93 and len(set(names)) == len(names)
    assert {"original_glcm_Contrast", "log-sigma-1-5-mm-3D_gldm_DependenceEntropy"} <= set(names)
    assert "log-sigma-0-5-mm-2D_ngtdm_Busyness" in feature_names(RadiomicsSettings(log_mode="2D"))


def test_a_sigma_below_the_acquired_pixel_is_missing_with_its_reason():
    volume = image(shape=(6, 40, 40))
    settings = RadiomicsSettings(log_sigmas_mm=(0.5, 1.0), feature_classes=("shape2D", "firstorder"))
    found = extract(volume, discs(volume, (6.0,)), settings, acquired_pixel_mm=0.9)
    fine = [n for n in found.names if n.startswith("log-sigma-0-5")]
    assert np.isnan(found.columns(fine)).all() and np.isfinite(found.values).sum() == len(found.names) - len(fine)
    assert "0.9" in found.reason(0, fine[0]) and found.metadata["warnings"] == []
    recorded = replace(volume, acquisition=Acquisition(acquired_pixel_mm=0.6))
    assert np.isnan(extract(recorded, discs(volume, (6.0,)), settings).column(fine[0])[0])
    unknown = extract(volume, discs(volume, (6.0,)), settings)
    assert np.isfinite(unknown.values).all() and "unknown" in unknown.metadata["warnings"][0]


def test_whatever_is_missing_has_a_reason():
    volume = image(shape=(3, 40, 40))
    single, line, far = np.zeros((3, 40, 40), bool), np.zeros((3, 40, 40), bool), np.zeros((3, 40, 40), bool)
    single[1, 5, 5] = line[1, 5, 5:9] = True
    far[1, [5, 9], [5, 12]] = True
    several = np.zeros((3, 40, 40), bool)
    several[:2, 5:15, 5:15] = True
    regions = [RegionMask(n, m) for n, m in (("single", single), ("line", line), ("far", far), ("several", several))]
    found = extract(volume, regions, RadiomicsSettings(log_sigmas_mm=(1.0,), bin_width={"original": 9.0, "log": 9.0}))
    missing = np.argwhere(np.isnan(found.values)).tolist()
    assert {(row, found.names[column]) for row, column in missing} == set(found.reasons)
    reasons = {}
    for (row, name), why in found.reasons.items():
        reasons[row, name.split("_")[1] if name.startswith("original") else "log"] = why
    assert reasons[0, "glcm"] == "the region is a single voxel"
    assert reasons[1, "glcm"] == "the region extends in 1 of at least 2 dimensions"
    for kind, word in (("glcm", "neighbours"), ("glrlm", "line"), ("firstorder", "percentile")):
        assert word in reasons[2, kind]
    assert reasons[3, "shape2D"] == "the region lies in several slices"
    assert reasons[3, "log"] == "the image is too small for a LoG of 1 mm"
    assert len(found.reasons) == np.isnan(found.values).sum() and (2, "glszm") not in reasons


def test_input_that_cannot_be_used_is_refused():
    volume = image(shape=(6, 40, 40))
    region = discs(volume, (6.0,))[0]
    for wrong in (
        replace(region, mask=region.mask[:30]),
        replace(region, mask=region.mask.astype(int)),
        replace(region, slice_index=6),
        replace(region, slice_index=None),
        replace(region, mask=np.ones((5, 40, 40), bool)),
    ):
        with pytest.raises(BadInput, match="disc 0"):
            extract(volume, [wrong], SMALL)
    with pytest.raises(BadInput, match="grey levels"):
        extract(volume, [region], replace(SMALL, bin_width={"original": 1e-3, "log": 1e-3}))
    broken = volume.with_array(volume.array.copy())
    broken.array[region.slice_index][region.mask] = np.nan
    with pytest.raises(BadInput, match="not numbers"):
        extract(broken, [region], SMALL)


def test_no_region_gives_an_empty_table():
    for settings in (SMALL, RadiomicsSettings(), replace(SMALL, feature_classes=("shape2D",))):
        found = extract(image(), [], settings)
        assert len(found) == 0 and found.names == feature_names(settings)


def test_importing_the_engine_brings_no_heavy_or_optional_package():
    others = ("radiomics", "pyarrow", "pandas", "numba", "torch", "sklearn", "pywt", "slicer")
    code = f"import sys, cnsifusion.radiomics; print([m for m in {others} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
