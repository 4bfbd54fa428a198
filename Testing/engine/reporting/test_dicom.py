"""DICOM out: SEG and SR that other programs read, on the source's geometry, a demonstration's score held back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from cnsifusion.analysis import Analyzer, read_result
from cnsifusion.errors import BadInput
from cnsifusion.imaging import read_image
from cnsifusion.imaging.read import read_labels
from cnsifusion.reporting import write_report_beside
from cnsifusion.reporting.dicom import export_dicom
from cnsifusion.reporting.pictures import label
from cnsifusion.roi.names import SEGMENTS
from cnsifusion.roi.region_io import read_regions, write_regions

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from dicom_files import write_enhanced, write_series  # a helper of the imaging tests

pytest.importorskip("highdicom")

#: What an archive files by, and what it does not and the objects must not hold.
FILED = {"PatientID": "ID-4711", "PatientBirthDate": "19610203", "PatientSex": "F", "IssuerOfPatientID": "Archive"}
HIDDEN = (
    "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers",
    "PatientComments", "MedicalAlerts", "Allergies", "EthnicGroup", "Occupation", "AdditionalPatientHistory",
    "MilitaryRank", "ResponsiblePerson", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "StationName", "OperatorsName", "PerformingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "ConsultingPhysicianName", "RequestingPhysician", "RequestingService", "AdmittingDiagnosesDescription",
    "ReasonForVisit", "AdmissionID", "ServiceEpisodeDescription", "PatientState",
)  # fmt: skip
HIDDEN_CODES = (
    "OtherPatientIDsSequence", "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianIdentificationSequence", "PhysiciansOfRecordIdentificationSequence",
    "PhysiciansReadingStudyIdentificationSequence", "AdmittingDiagnosesCodeSequence",
    "ReasonForPerformedProcedureCodeSequence", "InstitutionalDepartmentTypeCodeSequence",
)  # fmt: skip


@pytest.fixture(scope="module")
def series(simulated_image, tmp_path_factory) -> Path:
    """The simulated patient as a DICOM series."""
    folder = tmp_path_factory.mktemp("dicom") / "series"
    code = pydicom.Dataset()
    code.PatientID = code.CodeMeaning = "Hidden"
    hidden = dict.fromkeys(HIDDEN, "Hidden") | {keyword: [code] for keyword in HIDDEN_CODES}
    write_series(read_image(simulated_image), folder, name="Secret^Name", **FILED, **hidden)
    return folder


@pytest.fixture(scope="module")
def exported(series, tmp_path_factory) -> tuple[Path, Path]:
    """Result folder and DICOM folder."""
    out = tmp_path_factory.mktemp("result")
    Analyzer(write_report_beside).analyze(series, out / "result")
    export_dicom(out / "result" / "result.json", series, out / "dicom")
    return out / "result", out / "dicom"


def test_segmentation_reads_back_bit_equal(exported, series) -> None:
    result, dicom = exported
    volume = read_image(series)
    before, after = read_regions(result / "rois.seg.nrrd", volume), read_regions(dicom / "seg.dcm", volume)
    drawn = {name for name, mask in before.masks.items() if mask.any()}
    assert set(after.masks) == drawn
    assert all(np.array_equal(after.masks[name], before.masks[name]) for name in drawn)
    assert pydicom.dcmread(dicom / "seg.dcm").SegmentationType == "BINARY"  # no probabilities


def test_regions_in_a_folder_of_their_own_are_analyzed(exported, series, tmp_path) -> None:
    """A folder with one SEG is a region file; the analysis ended with "is the disk full?" after all its work."""
    (tmp_path / "seg").mkdir()
    shutil.copy(exported[1] / "seg.dcm", tmp_path / "seg")
    analyzer, places = Analyzer(write_report_beside), (tmp_path / "seg", tmp_path / "seg" / "seg.dcm")
    results = [analyzer.analyze(series, tmp_path / f"of {place.name}", rois=place) for place in places]
    assert results[0].provenance["regions_sha256"] == results[1].provenance["regions_sha256"]


def test_objects_reference_the_series_and_say_research_use_only(exported, series) -> None:
    source = pydicom.dcmread(next(p for p in series.iterdir()), stop_before_pixels=True)
    for name in ("seg.dcm", "sr.dcm", "key_images.dcm"):
        dataset = pydicom.dcmread(exported[1] / name)
        assert dataset.StudyInstanceUID == source.StudyInstanceUID
        assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
        assert "RESEARCH USE ONLY" in dataset.SeriesDescription


def test_of_the_patient_the_objects_hold_what_an_archive_files_by_alone(exported, series) -> None:
    """The consulting physician, the diagnoses at admission and the reason for the visit went along."""
    source = next(series.iterdir())
    assert source.read_bytes().count(b"Hidden") >= len(HIDDEN) + len(HIDDEN_CODES)
    for path in exported[1].iterdir():
        dataset = pydicom.dcmread(path)
        assert b"Hidden" not in path.read_bytes(), [e.keyword for e in dataset.iterall() if "Hidden" in str(e.value)]
        assert dataset.PatientName == "Secret^Name"
        assert {e.keyword: e.value for e in dataset.group_dataset(0x0010)} == {
            keyword: value for keyword, value in FILED.items() if keyword in dataset
        } | {"PatientName": "Secret^Name"}
        assert {"PatientID", "PatientBirthDate", "PatientSex"} <= set(dataset.dir())


def test_key_images_say_what_their_maps_are(exported) -> None:
    """An archive shows them without the report: coloured spots that looked like the infection's place."""
    capture = pydicom.dcmread(exported[1] / "key_images.dcm").pixel_array
    sheet = np.asarray(Image.open(exported[0] / "key_images.png"))
    below = capture[50 + len(sheet) :].max(axis=(1, 2)) > 128
    lines = np.flatnonzero(np.diff(below.astype(int)) == 1)
    assert len(lines) >= 2 and np.array_equal(capture[50 : 50 + len(sheet)], sheet)
    words, width = "RESEARCH USE ONLY - DEMONSTRATION, not meaningful for patients", capture.shape[1]
    banner = Image.new("RGB", (width, 50))
    label(banner, words, (width // 2, 25), min(24, width // (len(words) // 2 + 2)))
    assert np.array_equal(capture[:50], np.asarray(banner)) and capture[:50].max() == 255


def test_key_images_tell_viewers_where_left_and_behind_are(exported) -> None:
    """The letters beside the picture in a viewer: the patient's left on the right, behind below, as drawn inside it."""
    capture = pydicom.dcmread(exported[1] / "key_images.dcm", stop_before_pixels=True)
    assert list(capture.PatientOrientation) == ["L", "P"] and capture.Laterality == ""
    assert "ImageOrientationPatient" not in capture and "FrameOfReferenceUID" not in capture  # no place on a sheet


def numbers(report: pydicom.Dataset) -> dict[str, dict[str, float]]:
    """Values of each group of measurements, under the code of what they are or of how they were derived."""
    found: dict[str, dict[str, float]] = {}
    for group in next(i for i in report.ContentSequence if codes(i) == ["126010"]).ContentSequence:
        (name,) = (i.TextValue for i in group.ContentSequence if codes(i) == ["112039"])
        found[name] = {}
        for item in group.ContentSequence:
            if item.ValueType == "NUM":
                derived = [c.ConceptCodeSequence[0].CodeValue for c in item.get("ContentSequence", [])
                           if codes(c) == ["121401"]]  # fmt: skip
                value = float(item.MeasuredValueSequence[0].NumericValue)
                found[name][(derived or codes(item))[0]] = value
    return found


def texts(item: pydicom.Dataset) -> list[str]:
    """Code values and texts of an SR tree."""
    found = [c.CodeValue for c in item.get("ConceptNameCodeSequence", []) if "CodeValue" in c]
    found += [item.TextValue] if "TextValue" in item else []
    for child in item.get("ContentSequence", []):
        found += texts(child)
    return found


def test_score_of_a_demonstration_needs_confirmation(exported, series, tmp_path) -> None:
    result, dicom = exported
    report = pydicom.dcmread(dicom / "sr.dcm")
    assert report.VerificationFlag == "UNVERIFIED"
    assert "CNSIPROB" not in texts(report) and "118565006" in texts(report)
    export_dicom(result / "result.json", series, tmp_path, confirm_demonstration=True)
    confirmed = pydicom.dcmread(tmp_path / "sr.dcm")
    kept = read_result(result / "result.json")
    probability = 100 * kept.patient.probability
    assert numbers(confirmed)["Model score of the patient"] == {"CNSIPROB": pytest.approx(probability, abs=0.05)}
    assert any("DEMONSTRATION" in text for text in texts(confirmed))
    assert f"bundle sha256 {kept.provenance['bundle_sha256']}" in texts(confirmed)


def test_the_report_holds_the_results_numbers_under_their_codes(exported) -> None:
    result, found = read_result(exported[0] / "result.json"), numbers(pydicom.dcmread(exported[1] / "sr.dcm"))
    for name, row in result.statistics["segments"].items():
        expected = {"118565006": row["volume_ml"], "373098007": row["mean"], "386136009": row["sd"]}
        if name.startswith("PVS"):
            expected["PVSCOUNT"] = result.pvs[SEGMENTS[name].side]
        assert found.pop(name) == pytest.approx(expected), name
    assert not found


def test_the_report_says_which_region_is_missing_and_why(exported, series, tmp_path) -> None:
    name, why = "Sub-lentiform right", "The reader rejected Sub-lentiform right (lesion in the region)."
    shutil.copytree(exported[0], tmp_path / "result")
    file = tmp_path / "result" / "rois.seg.nrrd"
    regions = read_regions(file, read_image(series))
    del regions.masks[name]
    regions.withheld[name] = why
    write_regions(regions, file)
    export_dicom(tmp_path / "result" / "result.json", series, tmp_path / "dicom")
    words = pydicom.dcmread(tmp_path / "dicom" / "sr.dcm").to_json()
    assert why in words and "Region was measured" in words
    assert "Region was measured" not in pydicom.dcmread(exported[1] / "sr.dcm").to_json()
    if dciodvfy := shutil.which("dciodvfy"):
        done = subprocess.run([dciodvfy, tmp_path / "dicom" / "sr.dcm"], capture_output=True, text=True, check=False)
        assert not [line for line in done.stderr.splitlines() if line.startswith("Error")], done.stderr
    if reader := shutil.which("tid1500reader", path=str(Path(sys.executable).parent)):
        words = ["--inputDICOM", tmp_path / "dicom" / "sr.dcm", "--outputMetadata", tmp_path / "sr.json"]
        subprocess.run([reader, *words], check=True, capture_output=True)


def test_words_of_ours_that_the_sources_letters_lack_are_kept(exported, series, tmp_path) -> None:
    """A bundle's name with an umlaut was written in letters that a series without a character set does not announce."""
    shutil.copytree(exported[0], tmp_path / "result")
    file = tmp_path / "result" / "result.json"
    kept = json.loads(file.read_text("utf-8"))
    kept["provenance"]["bundle_name"] = "Uniklinik K\u00f6ln"
    file.write_text(json.dumps(kept), "utf-8")
    export_dicom(file, series, tmp_path / "dicom", confirm_demonstration=True)
    report = pydicom.dcmread(tmp_path / "dicom" / "sr.dcm")
    assert report.SpecificCharacterSet == "ISO_IR 192" and report.PatientName == "Secret^Name"
    assert "bundle Uniklinik K\u00f6ln" in texts(report)
    assert "SpecificCharacterSet" not in pydicom.dcmread(exported[1] / "sr.dcm")  # else the source's own letters


def test_the_report_tells_sides_by_code_and_its_program(exported) -> None:
    """The side stood in the region's name alone, which programs that read the report do not know."""
    report = pydicom.dcmread(exported[1] / "sr.dcm")
    assert report.ManufacturerModelName == "CNSIFusion" and report.SoftwareVersions
    sides = {}
    for group in next(i for i in report.ContentSequence if codes(i) == ["126010"]).ContentSequence:
        words = [i.TextValue for i in group.ContentSequence if codes(i) == ["112039"]]
        sites = [i for i in group.ContentSequence if codes(i) == ["363698007"]]
        sides[words[0]] = [c.ConceptCodeSequence[0].CodeValue for site in sites for c in site.ContentSequence]
    for name, found in sides.items():
        assert found == ([SEGMENTS[name].side_code.value] if SEGMENTS[name].side_code else []), name
    assert {"Sub-lentiform left", "Sub-lentiform right"} <= set(sides)


def codes(item: pydicom.Dataset) -> list[str]:
    """The value of an SR item's own concept name."""
    return [code.CodeValue for code in item.get("ConceptNameCodeSequence", [])]


def test_enhanced_source_keeps_its_frames_and_a_name_in_two_scripts(simulated_image, tmp_path) -> None:
    volume = read_image(simulated_image)
    write_enhanced(volume, tmp_path / "series" / "one.dcm")
    source = pydicom.dcmread(tmp_path / "series" / "one.dcm")
    source.SpecificCharacterSet, source.PatientName = ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"
    source.save_as(tmp_path / "series" / "one.dcm")
    Analyzer(write_report_beside).analyze(tmp_path / "series", tmp_path / "result")
    export_dicom(tmp_path / "result" / "result.json", tmp_path / "series", tmp_path / "dicom")
    before = read_regions(tmp_path / "result" / "rois.seg.nrrd", volume)
    after = read_regions(tmp_path / "dicom" / "seg.dcm", volume)
    for name, mask in after.masks.items():
        assert np.array_equal(mask, before.masks[name]), name
    for path in (tmp_path / "dicom").iterdir():
        assert pydicom.dcmread(path).PatientName == "Yamada^Tarou=山田^太郎"


def test_another_series_is_refused(exported, simulated_image, tmp_path) -> None:
    volume = read_image(simulated_image)
    write_series(volume.with_array(volume.array + 1), tmp_path / "other")
    with pytest.raises(BadInput, match="another image"):
        export_dicom(exported[0] / "result.json", tmp_path / "other", tmp_path / "dicom")
    assert not (tmp_path / "dicom").exists()


def test_nothing_written_names_the_patient_but_dicom(exported) -> None:
    for path in exported[0].iterdir():
        content = path.read_bytes()
        assert b"Secret" not in content and b"ID-4711" not in content, path.name


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("name", ["seg.dcm", "sr.dcm", "key_images.dcm"])
def test_dciodvfy_finds_no_error(exported, name) -> None:
    done = subprocess.run(["dciodvfy", exported[1] / name], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if line.startswith("Error")], done.stderr


def _dcmqi(tool: str) -> str | None:
    """The path of one of dcmqi's programs (pip's ``dcmqi`` puts them beside Python)."""
    return shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))


@pytest.mark.skipif(not _dcmqi("segimage2itkimage"), reason="dcmqi (extra 'test') is not installed")
def test_dcmqi_reads_the_segmentation(exported, series, tmp_path) -> None:
    """Another program's reading: the same voxels at the same places, names and codes kept."""
    words = ["--inputDICOM", exported[1] / "seg.dcm", "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run([_dcmqi("segimage2itkimage"), *words], check=True, capture_output=True)
    volume = read_image(series)
    before = read_regions(exported[0] / "rois.seg.nrrd", volume)
    meta = json.loads((tmp_path / "meta.json").read_text("utf-8"))
    segments = {s["labelID"]: s for group in meta["segmentAttributes"] for s in group}
    assert {s["SegmentLabel"] for s in segments.values()} == {n for n, mask in before.masks.items() if mask.any()}
    for number, segment in segments.items():
        labels, grid = read_labels(tmp_path / f"{number}.nrrd")
        assert grid.spacing == pytest.approx(volume.grid.spacing, abs=1e-4)
        expected = np.argwhere(before.masks[segment["SegmentLabel"]])[:, ::-1]
        found = np.rint(volume.grid.to_ijk(grid.to_lps(np.argwhere(labels)[:, ::-1]))).astype(int)
        assert {tuple(p) for p in found} == {tuple(p) for p in expected}, segment["SegmentLabel"]
    codes = {s["SegmentLabel"]: s["SegmentedPropertyTypeCodeSequence"]["CodingSchemeDesignator"]
             for s in segments.values()}  # fmt: skip
    assert codes["CSF ventricles"] == "SCT" and codes["Sub-lentiform left"] == "99CNSIFUSION"


@pytest.mark.skipif(not _dcmqi("tid1500reader"), reason="dcmqi (extra 'test') is not installed")
def test_dcmqi_reads_the_report(exported, tmp_path) -> None:
    words = ["--inputDICOM", exported[1] / "sr.dcm", "--outputMetadata", tmp_path / "sr.json"]
    subprocess.run([_dcmqi("tid1500reader"), *words], check=True, capture_output=True)
    report = json.loads((tmp_path / "sr.json").read_text("utf-8"))
    result = read_result(exported[0] / "result.json")
    volumes = {}
    for group in report["Measurements"]:
        for item in group["measurementItems"]:
            if item["quantity"]["CodeValue"] == "118565006":
                volumes[group["TrackingIdentifier"]] = float(item["value"])
    drawn = {n: row["volume_ml"] for n, row in result.statistics["segments"].items() if row["volume_ml"] > 0}
    assert volumes == pytest.approx(drawn, rel=1e-5)


def test_the_series_own_folder_stays_one_series(exported, series) -> None:
    before = sorted(series.iterdir())
    for out in (series / ".." / series.name, series / "objects"):
        with pytest.raises(BadInput, match="outside the series' own folder"):
            export_dicom(exported[0] / "result.json", series, out)
    assert sorted(series.iterdir()) == before and read_image(series).array.ndim == 3


def test_segments_carry_the_protocols_codes_and_the_patients_side(exported) -> None:
    """Other viewers go by the codes: left and right of the same type differ in the modifier alone."""
    items = pydicom.dcmread(exported[1] / "seg.dcm").SegmentSequence
    assert {"Sub-lentiform left", "Sub-lentiform right", "CSF ventricles"} <= {item.SegmentLabel for item in items}
    for item in items:
        known, kind = SEGMENTS[item.SegmentLabel], item.SegmentedPropertyTypeCodeSequence[0]
        assert kind.CodeValue == known.type.value
        modifiers = [code.CodeValue for code in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])]
        assert modifiers == {"left": ["7771000"], "right": ["24028007"], "none": []}[known.side]


def test_segments_say_who_drew_them(exported, series, tmp_path) -> None:
    shutil.copytree(exported[0], tmp_path / "result")
    file = tmp_path / "result" / "result.json"
    kept = json.loads(file.read_text("utf-8"))
    made = {"CSF ventricles": "manual", "Sub-lentiform left": "automatic", "Sub-lentiform right": "automatic, edited"}
    kept["provenance"]["region_origin"] = made
    file.write_text(json.dumps(kept), "utf-8")
    export_dicom(file, series, tmp_path / "dicom")
    items = {i.SegmentLabel: i for i in pydicom.dcmread(tmp_path / "dicom" / "seg.dcm").SegmentSequence}
    assert [items[name].SegmentAlgorithmType for name in made] == ["MANUAL", "AUTOMATIC", "SEMIAUTOMATIC"]
    assert {i.SegmentAlgorithmType for name, i in items.items() if name not in made} <= {"SEMIAUTOMATIC"}  # unknown
    named = {name for name, i in items.items() if "SegmentAlgorithmName" in i}
    assert named == set(items) - {"CSF ventricles"}  # no program takes a reader's drawing for its own
