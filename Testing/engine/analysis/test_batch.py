"""Many patients from the command line: a folder of images and DICOM series, one table, resumed without mixing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import pydicom
import pytest
import SimpleITK as sitk

from cnsifusion.analysis import Analyzer, batch
from cnsifusion.analysis.batch import Patient, _key, analyze_patients, find_patients, read_list, write_list
from cnsifusion.cli import main
from cnsifusion.errors import BadInput
from cnsifusion.imaging import read_image, write_volume

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from dicom_files import write_series  # a helper of the imaging tests


@pytest.fixture(scope="module")
def folder(simulated_image, tmp_path_factory) -> Path:
    """A file, a DICOM series of the same head, and a file that is no head at all."""
    folder = tmp_path_factory.mktemp("many") / "images"
    (folder / "a").mkdir(parents=True)
    shutil.copy(simulated_image, folder / "a" / "T2w.nii.gz")
    volume = read_image(simulated_image)
    write_series(volume, folder / "b")
    (folder / "b" / "notes.txt").write_text("read me")
    flat = volume.with_array(volume.array * 0 + 5)
    write_volume(flat, folder / "c.nrrd")
    return folder


def table(out: Path) -> list[dict[str, str]]:
    with (out / "cohort.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def analyzed(folder) -> Path:
    out = folder / "results"  # inside: results are no images
    assert main(["cohort", "analyze", str(folder), "-o", str(out)]) == 0
    return out


def test_one_row_per_image_and_a_reason_where_there_is_no_score(analyzed) -> None:
    rows = {row["patient_id"]: row for row in table(analyzed)}
    assert list(rows) == ["a/T2w.nii.gz", "c.nrrd", "b"]
    assert "same value" in rows["c.nrrd"]["problem"] and rows["c.nrrd"]["probability"] == ""
    for name in ("a/T2w.nii.gz", "b"):
        row = rows[name]
        assert row["problem"] == "" and row["demonstration"] == "DEMONSTRATION"
        result = json.loads((analyzed / row["folder"] / "result.json").read_text("utf-8"))
        assert float(row["probability"]) == pytest.approx(result["patient"]["probability"], abs=1e-6)
        assert (analyzed / row["folder"] / "report.html").is_file()
    same = [float(rows[name]["probability"]) for name in ("a/T2w.nii.gz", "b")]
    assert same[0] == pytest.approx(same[1], abs=0.02), "the same head as a file and as rounded DICOM"


def test_resumed_without_work_and_one_changed_image_is_analyzed_anew(analyzed, folder, capsys) -> None:
    before = table(analyzed)
    files = {row["folder"]: (analyzed / row["folder"] / "result.json") for row in before if not row["problem"]}
    times = {name: path.stat().st_mtime_ns for name, path in files.items()}
    arguments = ["cohort", "analyze", str(folder), "-o", str(analyzed), "--resume", "--progress", "jsonl"]
    assert main(arguments) == 0
    assert table(analyzed) == before
    assert {name: path.stat().st_mtime_ns for name, path in files.items()} == times
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["patients"], last["failed"]) == ("done", 3, 1)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_hidden_copies_are_no_patients_and_a_link_to_nothing_is_one_without_a_score(folder, tmp_path) -> None:
    """What macOS leaves beside a file and git-annex keeps of it, and a file that git-annex has not fetched."""
    kept = tmp_path / ".git" / "annex" / "MD5E-s1.nii.gz"
    kept.parent.mkdir(parents=True)
    shutil.copy(folder / "a" / "T2w.nii.gz", kept)
    (tmp_path / "._sub-01_T2w.nii.gz").write_text("Mac OS X")
    (tmp_path / "sub-01_T2w.nii.gz").symlink_to(kept)
    (tmp_path / "sub-02_T2w.nii.gz").symlink_to(kept.parent / "elsewhere.nii.gz")
    shutil.copytree(folder / "b", tmp_path / ".trash" / "b")
    found = find_patients(tmp_path)
    assert [p.name for p in found] == ["sub-01_T2w.nii.gz", "sub-02_T2w.nii.gz"]
    outcome = analyze_patients(Analyzer(), found[1:], tmp_path / "out")
    assert "no readable file" in outcome.rows[0].problem


def test_a_run_without_any_score_is_no_success(folder, tmp_path, capsys) -> None:
    """So that a script does not go on with an empty table."""
    shutil.copy(folder / "c.nrrd", tmp_path / "c.nrrd")
    assert main(["cohort", "analyze", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "No patient of 1 has a score; the table cohort.csv says why." in capsys.readouterr().err
    assert "same value" in table(tmp_path / "out")[0]["problem"]


@pytest.mark.parametrize("changed", ["T2w.raw", "T2w.json", "rois.raw"])
def test_a_result_is_not_kept_when_a_file_beside_the_named_one_changed(tmp_path, changed) -> None:
    for name in ("T2w.mhd", "rois.nhdr"):
        sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), tmp_path / name)
    patient = Patient("one", (tmp_path / "T2w.mhd",), tmp_path / "rois.nhdr")
    before = _key(patient, "bundle")
    assert before == _key(patient, "bundle")
    (tmp_path / changed).write_bytes(b"x" * 65)
    assert _key(patient, "bundle") != before


def test_lists_of_series_pass_through_a_file(folder, tmp_path) -> None:
    patients = [p for p in find_patients(folder) if len(p.files) > 1]
    write_list(patients, tmp_path / "list.json")
    assert read_list(tmp_path / "list.json") == patients
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(BadInput, match="empty"):
        read_list(tmp_path / "list.json")


def test_a_series_that_lost_its_last_slice_is_not_analyzed_as_a_shorter_head(folder, tmp_path) -> None:
    files = write_series(read_image(folder / "b"), tmp_path / "series")
    order = sorted(files, key=lambda path: pydicom.dcmread(path, stop_before_pixels=True).InstanceNumber)
    order[-1].unlink()
    row = analyze_patients(Analyzer(), [Patient("1.2.3", tuple(files))], tmp_path / "out").rows[0]
    assert row.probability == "" and f"1 of the series' {len(files)} files are not" in row.problem


def test_an_empty_folder_and_options_without_meaning_are_refused(tmp_path, capsys) -> None:
    assert main(["cohort", "analyze", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "holds no image" in capsys.readouterr().err
    assert main(["cohort", "analyze", str(tmp_path), "-o", str(tmp_path / "out"), "--jobs", "4"]) == 2


def test_zz_another_image_of_the_same_name_gets_no_earlier_result(analyzed, folder) -> None:
    """Last: it replaces an image. A resumed run must not show the former patient's score."""
    volume = read_image(folder / "c.nrrd")
    write_volume(volume, folder / "a" / "T2w.nii.gz")
    patients = [Patient("one", (folder / "a" / "T2w.nii.gz",))]
    row = analyze_patients(Analyzer(), patients, analyzed, resume=True).rows[0]
    assert row.probability == "" and "same value" in row.problem


def test_a_table_of_another_kind_is_not_replaced(folder, tmp_path, capsys) -> None:
    """A manifest may be named cohort.csv and lie where the results are asked for."""
    manifest = tmp_path / "cohort.csv"
    manifest.write_text(f"patient_id,image,rois,label\np,{folder / 'a' / 'T2w.nii.gz'},,1\n")
    before = manifest.read_text()
    assert main(["cohort", "analyze", str(manifest), "-o", str(tmp_path)]) == 2
    assert "of another kind" in capsys.readouterr().err
    assert manifest.read_text() == before and [p.name for p in tmp_path.iterdir()] == ["cohort.csv"]


def test_a_file_written_anew_is_another_image(folder, tmp_path) -> None:
    """Of the same name and size: only its time tells, and an earlier result is not its own."""
    copy = tmp_path / "T2w.nii.gz"
    shutil.copy(folder / "a" / "T2w.nii.gz", copy)
    patient = Patient("a", (copy,))
    before = _key(patient, "bundle")
    assert _key(patient, "bundle") == before != _key(patient, "another bundle")
    os.utime(copy, ns=(0, copy.stat().st_mtime_ns + 1_000_000))
    assert _key(patient, "bundle") != before


def test_a_result_of_another_state_of_the_program_is_not_kept(folder, tmp_path, monkeypatch) -> None:
    """Of the same version: a clone brought up to date in between, say."""
    patients, names = [Patient("flat", (folder / "c.nrrd",))], []
    for state in ("a", "a", "b"):
        monkeypatch.setattr(batch, "source_hash", lambda *rooms, state=state: state)
        names.append(analyze_patients(Analyzer(), patients, tmp_path, resume=True).rows[0].folder)
    assert names[0] == names[1] != names[2]
