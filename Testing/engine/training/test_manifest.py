"""The manifest: all problems in one table before any work; warnings for what does not stop it."""

import csv
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import SimpleITK as sitk

from cnsifusion.errors import BadInput
from cnsifusion.imaging import Grid, read_image
from cnsifusion.imaging.grid import ALONG_LPS
from cnsifusion.training.manifest import UNKNOWN, _inside, read_manifest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from dicom_files import write_series

COLUMNS = ["patient_id", "image", "rois", "label", "mask_origin", "mri_date", "lp_date", "age", "reader"]


def write_image(path, shape=(3, 8, 8), spacing=(1.0, 1.0, 5.0), origin=(0.0, 0.0, 0.0)):
    image = sitk.GetImageFromArray(np.zeros(shape, np.uint8))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def rows(tmp_path):
    """Ten sound patients."""
    found = []
    for n in range(10):
        write_image(tmp_path / f"{n}.nii.gz")
        write_image(tmp_path / f"{n}.nrrd")
        found.append({
            "patient_id": f"secret-{n}", "image": f"{n}.nii.gz", "rois": f"{n}.nrrd", "label": str(n % 2),
            "mask_origin": "semiautomatic", "mri_date": "2026-01-02", "lp_date": "2026-01-03", "age": "50",
        })  # fmt: skip
    return found


@pytest.fixture
def save(tmp_path):
    def write(rows, columns=COLUMNS):
        path = tmp_path / "manifest.csv"
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


def problems(path, folds=5):
    with pytest.raises(BadInput) as caught:
        read_manifest(path, folds)
    assert "secret" not in str(caught.value)  # lines are named by number, not by patient
    return str(caught.value)


def test_a_sound_manifest(rows, save, tmp_path):
    manifest = read_manifest(save(rows), 5)
    assert manifest.labels == [0, 1] * 5 and manifest.warnings == [] and not manifest.simulated
    assert manifest.patients[3].image == tmp_path / "3.nii.gz" and manifest.patients[3].age == 50


def test_all_problems_come_at_once(rows, save, tmp_path):
    rows[0]["image"] = "gone.nii.gz"
    rows[1]["rois"] = "gone.nrrd"
    rows[2]["label"] = "yes"
    rows[3]["patient_id"] = rows[4]["patient_id"]
    rows[5]["age"] = "old"
    rows[6]["mask_origin"] = "guessed"
    write_image(tmp_path / "7.nrrd", origin=(3.3, 0, 0))
    (tmp_path / "8.nii.gz").write_bytes(b"no image")
    rows[9] |= {"patient_id": "", "sex": "0"}
    rows.append({**rows[4], "patient_id": "the same by another reader", "rois": ""})
    text = problems(save(rows, [*COLUMNS, "sex"]))
    for line, words in ((2, "file not found"), (3, "file not found"), (4, "0 or 1"), (6, "line 5"), (7, "number"),
                        (8, "must be one of"), (9, "grid"), (10, "can read"), (11, "empty"), (11, "M or F"),
                        (12, "image as in line 6")):  # fmt: skip
        assert any(f"line {line} " in entry and words in entry for entry in text.splitlines()), (line, words, text)


def test_one_class_and_too_few(rows, save):
    assert "only one class" in problems(save([{**r, "label": "1"} for r in rows]))
    assert "fewer than the 6 folds" in problems(save(rows), folds=6)
    with pytest.raises(BadInput, match=r"fewer than 5 outer and 5 inner folds need \(7\)"):
        read_manifest(save(rows), 5, 5)
    assert len(read_manifest(save(rows), 5, 4).patients) == 10
    assert len(read_manifest(save([{**r, "label": "1"} for r in rows]), folds=0).patients) == 10


def test_one_class_drawn_and_the_other_proposed(rows, save):
    for row in rows:
        row["mask_origin"] = "manual" if row["label"] == "1" else "automatic"
    assert "who drew" in problems(save(rows))


def test_regions_cropped_to_their_content_fit(rows, save, tmp_path):
    write_image(tmp_path / "0.nrrd", shape=(1, 3, 4), origin=(2.0, 1.0, 5.0))
    read_manifest(save(rows), 5)
    write_image(tmp_path / "0.nrrd", shape=(1, 3, 9), origin=(2.0, 1.0, 5.0))
    assert "grid" in problems(save(rows))


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"origin": (10.04, 20.0, 30.0)}, True),
        ({"origin": (10.2, 20.0, 30.0)}, False),  # between the voxels
        ({"origin": (9.0, 20.0, 30.0)}, False),  # one before the first
        ({"size": (41, 50, 12)}, False),
        ({"size": (39, 50, 10)}, True),
        ({"spacing": (1.0, 1.0, 5.02)}, False),
        ({"direction": (1.0, 0.0, 0.0, 0.0, 0.999, -0.04, 0.0, 0.04, 0.999)}, False),
    ],
)
def test_regions_lie_on_voxels_of_the_image(change, fits):
    image = Grid((40, 50, 12), (1.0, 1.0, 5.0), (10.0, 20.0, 30.0), ALONG_LPS)
    assert _inside(replace(image, **change), image) == fits


def test_warnings(rows, save):
    rows[0]["lp_date"] = "2026-01-09"
    rows[1]["mri_date"] = "yesterday"
    for row in rows:
        row["reader"] = "A" if row["label"] == "1" else "B"
        row["edited"] = "yes" if row["label"] == "1" else "no"
    manifest = read_manifest(save(rows, [*COLUMNS, "edited", "shoe_size"]), 5)
    text = " ".join(manifest.warnings)
    for words in ("168 h apart", "Line 3", "reader goes along", "edited goes along", "shoe_size"):
        assert words in text


@pytest.mark.parametrize(
    "content",
    [b"", b"patient_id,image\n1,2\n", b"\xff\xfe\x00", b"patient_id,image,rois,label,label\n", b"patient_id,image,rois,"
     b"label\n", b"patient_id,image,rois,label\n\0,\0,\0,\0\n", b'patient_id,image,rois,label\n"unclosed,1,2,3\n'],
)  # fmt: skip
def test_files_that_are_no_manifest(tmp_path, content):
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    problems(path)
    problems(tmp_path / "gone.csv")


def test_a_table_with_semicolons_is_called_so(tmp_path):
    (tmp_path / "manifest.csv").write_text("patient_id;image;rois;label\n1;a.nii;b.nrrd;0\n")
    assert "semicolons" in problems(tmp_path / "manifest.csv")


    (tmp_path / "manifest.csv").write_text("patient_id\timage\trois\tlabel\n1\ta.nii\tb.nrrd\t0\n")
    assert "tabs" in problems(tmp_path / "manifest.csv")


def test_lines_are_those_of_the_file_and_tables_may_end_in_empty_cells(rows, save):
    path = save(rows)
    lines = path.read_text().splitlines()
    lines = [f"{lines[0]},,", "", ",,,", *(f"{line},," for line in lines[1:])]
    path.write_text("\n".join(lines))
    manifest = read_manifest(path, 5)
    assert [p.line for p in manifest.patients] == list(range(4, 14)) and manifest.warnings == []
    lines[8] = lines[8].replace(",0,", ",perhaps,").replace(",1,", ",perhaps,")
    path.write_text("\n".join(lines))
    assert "  line 9     label        must be 0 or 1" in problems(path).splitlines()


def test_a_decimal_comma_is_not_cut_off(rows, save):
    path = save(rows, ["patient_id", "image", "rois", "label", "age"])
    path.write_text(path.read_text().replace(",50\n", ",50,5\n", 1))
    assert "line 2" in problems(path) and "needs quotes" in problems(path)


def test_simulated_images_make_a_simulated_cohort_wherever_the_manifest_lies(rows, save, tmp_path):
    (tmp_path / "made" / "images").mkdir(parents=True)
    rows[3]["image"] = shutil.copy(tmp_path / "3.nii.gz", tmp_path / "made" / "images")
    assert not read_manifest(save(rows), 5).simulated
    (tmp_path / "made" / "simulation.json").write_text("{}")
    assert read_manifest(save(rows), 5).simulated


def test_two_series_of_one_patient_under_two_names_are_warned_of(rows, save, tmp_path):
    volume = read_image(tmp_path / "0.nii.gz")
    for row, birth in zip(rows, ("19700101", "19700102", "19700101")):
        write_series(volume, tmp_path / f"dicom {row['patient_id']}", PatientBirthDate=birth)
        row |= {"image": f"dicom {row['patient_id']}", "rois": ""}
    warnings = read_manifest(save(rows), 5).warnings
    assert len(warnings) == 1 and "of one patient: 2, 4." in warnings[0]


def test_two_sessions_of_a_bids_subject_are_warned_of(rows, save, tmp_path):
    places = ["a/sub-1/ses-1/anat/sub-1_ses-1_T2w", "a/sub-1/ses-2/anat/sub-1_ses-2_T2w", "b/sub-1/anat/sub-1_T2w",
              "a/sub-12_T2w", "a/sub-12_run-2_T2w", "a/sub-120_T2w"]  # fmt: skip
    for row, place in zip(rows, places):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        row["image"] = str(shutil.copy(tmp_path / row["image"], tmp_path / f"{place}.nii.gz").relative_to(tmp_path))
    warnings = read_manifest(save(rows), 5).warnings
    assert len(warnings) == 1 and "of one patient: 2, 3; 5, 6." in warnings[0]


@pytest.mark.parametrize("spellings", [("M\u00fcller 1", "Mu\u0308ller 1"), ("P1a", "p1A")])
def test_one_patient_in_two_spellings_is_one(rows, save, spellings):
    rows[2]["patient_id"], rows[3]["patient_id"] = spellings
    assert "line 5     patient_id   the same patient as in line 4" in problems(save(rows))


def test_regions_of_two_patients_are_not_one_file(rows, save):
    rows[2]["rois"] = rows[1]["rois"]
    assert "line 4     rois         the same regions as in line 3" in problems(save(rows))


@pytest.mark.parametrize("sex", ["missing", "mujer", "MF", "0"])
def test_a_sex_is_not_guessed_from_a_first_letter(rows, save, sex):
    rows[0]["sex"], rows[1]["sex"], rows[2]["sex"] = sex, "Female", "m"
    text = problems(save(rows, [*COLUMNS, "sex"]))
    assert "1 problem," in text and "line 2     sex " in text


def test_labels_as_words_are_not_called_one_class(rows, save):
    text = problems(save([{**row, "label": "infected" if row["label"] == "1" else "control"} for row in rows]))
    assert "must be 0 or 1" in text and "one class" not in text


def test_patients_to_be_scored_need_no_label(rows, save):
    path = save(rows, ["patient_id", "image", "rois"])
    for labels in ("taken", "ignored"):
        assert set(read_manifest(path, folds=0, labels=labels).labels) == {UNKNOWN}
    assert "lacks the column label" in problems(path, folds=0)
    assert "lacks the column image" in problems(save(rows, ["patient_id", "rois", "label"]), folds=0)
    some = [{**row, "label": "" if n < 4 else row["label"]} for n, row in enumerate(rows)]
    assert read_manifest(save(some), folds=0, labels="taken").labels == [UNKNOWN] * 4 + [0, 1] * 3
    assert set(read_manifest(save([{**row, "label": "ill"} for row in rows]), 0, labels="ignored").labels) == {UNKNOWN}
    with pytest.raises(BadInput, match=r"line 6 .* must be 0 or 1"):
        read_manifest(save([*some[:4], {**rows[4], "label": "ill"}, *some[5:]]), folds=0, labels="taken")


def test_random_bytes_never_crash(tmp_path, rows, save):
    """Damaged manifests are read or refused with BadInput, nothing else."""
    random, refusals = np.random.default_rng(2), 0
    content = save(rows[:4]).read_bytes()
    for _ in range(200):
        broken = bytearray(content)
        for _ in range(random.integers(1, 12)):
            broken[random.integers(len(broken))] = random.integers(256)
        path = tmp_path / "broken.csv"
        path.write_bytes(bytes(broken[: random.integers(len(broken))] if random.random() < 0.3 else broken))
        try:
            read_manifest(path, folds=0)
        except BadInput:
            refusals += 1
    assert refusals > 50
