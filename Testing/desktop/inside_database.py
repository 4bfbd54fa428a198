"""Slicer's own DICOM database: anonymized patients who share a number, loaded as its DICOM module loads them, alone and
as a batch. Skipped where this Slicer was built without DICOM.
"""

import atexit
import contextlib
import csv
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import ctk
import desk
import numpy as np
import pydicom
import slicer
from onpanel import case, choose, message, panel, waitIdle

sys.path.insert(0, str(desk.ROOT / "Testing" / "engine" / "imaging"))
from dicom_files import write_series  # a helper of the imaging tests

_folder = Path(tempfile.mkdtemp(prefix="cnsifusion-database-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
#: Name -> series instance UID, files, volume node.
_series: dict = {}


def _needsDatabase() -> None:
    if not hasattr(ctk, "ctkDICOMDatabase") or not hasattr(slicer, "dicomDatabase"):
        raise desk.Skip("this Slicer was built without DICOM (no ctkDICOMDatabase)")


def _indexed(*names) -> None:
    """Skip where there is no database; an AssertionError where an earlier test did not load these series."""
    _needsDatabase()
    assert all("node" in _series.get(name, {}) for name in names), "an earlier test did not load these series"


def _write(title: str, volume, **tags) -> None:
    files = write_series(volume, _folder / "images" / title, PatientID="ANON", PatientBirthDate="", **tags)
    header = pydicom.dcmread(files[0], stop_before_pixels=True)
    _series[title] = {"uid": str(header.SeriesInstanceUID), "files": files}


def _loadInBrowser(uid: str) -> None:
    """Choose a series in the window of Slicer's DICOM module, and press Load there."""
    browser = slicer.modules.DICOMInstance.browserWidget
    browser.dicomBrowser.setSelectedItems(ctk.ctkDICOMModel.SeriesType, [uid])
    desk.waitFor(lambda: browser.loadButton.enabled, "the Load button", 10)
    desk.click(browser.loadButton)
    desk.waitFor(lambda: slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"), "the loaded series", 20)
    desk.settle(0.5)


def test_a_closed_and_an_empty_database_are_said_to_be_so():
    _needsDatabase()
    from DICOMLib import DICOMUtils

    desk.showWindow()
    desk.openPanel()
    panel().ui.analyzeSection.collapsed = False
    slicer.dicomDatabase.closeDatabase()
    button, pressed = panel().ui.batchDatabaseButton, panel()._sections["many"]._database
    panel().markDirty()
    desk.waitFor(lambda: "no open DICOM database" in button.toolTip, "the button's reason", 10)
    assert not button.enabled
    panel().guarded(pressed)  # the click that came just before the database was closed
    desk.settle(0.3)
    assert "DICOM database is not open" in message(), message()
    DICOMUtils.openTemporaryDatabase(str(_folder / "database"))
    assert slicer.dicomDatabase.isOpen
    panel().markDirty()
    desk.waitFor(lambda: button.enabled, "the button", 5)
    desk.click(button)
    desk.settle(0.3)
    assert "holds no MR images" in message(), message()


def test_its_series_are_the_same_voxels_and_headers_to_us():
    """Two patients with one number: the first has a T2 (scaled, as Philips writes it) and a T1, the second a T2."""
    _needsDatabase()
    from DICOMLib import DICOMUtils

    from cnsifusion.imaging import read_image
    from cnsifusion.mrml.volumes import volumeFromNode
    from cnsifusion.simulation import SimulationSettings, simulate_patient

    head = simulate_patient(6, True, SimulationSettings()).volume
    _write("first T2", head, name="One", slope=0.37)
    same = {"StudyInstanceUID": pydicom.dcmread(_series["first T2"]["files"][0]).StudyInstanceUID}
    _write("first T1", head.with_array(head.array.max() - head.array), name="One", **same)
    _write("second T2", head.with_array(head.array[:, :, ::-1].copy()), name="Two")
    assert DICOMUtils.importDicom(str(_folder / "images"))
    database = slicer.dicomDatabase
    assert len(database.patients()) == 2
    desk.click(panel().ui.dicomButton)
    assert slicer.util.selectedModule() == "DICOM"
    desk.settle(0.5)
    for name, series in _series.items():
        assert sorted(database.filesForSeries(series["uid"])) == sorted(map(str, series["files"])), name
        before = set(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
        if len(before) == 0:
            _loadInBrowser(series["uid"])
        else:
            assert DICOMUtils.loadSeriesByUID([series["uid"]]), name
        (node,) = set(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) - before
        series["node"] = node
        handed = panel().session.sources.handOver(node)(_folder / f"job {name}")
        assert {p.resolve() for p in handed.iterdir()} == {p.resolve() for p in series["files"]}, name
        assert (read_image(handed).array == volumeFromNode(node).array).all(), name
    desk.openPanel()


def test_a_series_that_is_no_axial_t2_is_refused_with_the_reason():
    _indexed("first T1")
    choose(_series["first T1"]["node"])
    waitIdle()
    assert case().check["verdict"] == "refuse" and not panel().ui.analyzeButton.enabled
    assert "outside intended use" in panel().ui.analyzeButton.toolTip, panel().ui.analyzeButton.toolTip


def test_only_the_patients_own_series_stands_beside_the_image():
    """Slicer's subject hierarchy has one patient for both."""
    _indexed("first T1", "second T2")
    choose(_series["second T2"]["node"])
    waitIdle()
    assert case().check["verdict"] in ("ok", "warn"), case().check
    assert panel().session.beside.shown() is None
    panel()._sections["image"]._onBeside(_series["first T1"]["node"])
    desk.settle(0.3)
    assert "another patient" in message(), message()
    choose(_series["first T2"]["node"])
    waitIdle()
    assert panel().session.beside.shown() is _series["first T1"]["node"]


def test_its_dicom_objects_refer_to_the_instances_of_that_series():
    _indexed("first T2")
    session = panel().session
    assert session.case.volume is _series["first T2"]["node"]
    session.analyze()
    waitIdle(240)
    desk.waitFor(lambda: panel().ui.resultFrame.visible, "the result", 10)
    assert panel().ui.dicomOutButton.enabled, panel().ui.dicomOutButton.toolTip
    session.exports.dicom(_folder / "out")
    waitIdle(60)
    assert "Written for the PACS" in message(), message()
    places = {}
    for path in _series["first T2"]["files"]:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        places[str(header.SOPInstanceUID)] = np.array(header.ImagePositionPatient, float)
    segmentation = pydicom.dcmread(_folder / "out" / "seg.dcm")
    (source,) = segmentation.ReferencedSeriesSequence
    assert source.SeriesInstanceUID == _series["first T2"]["uid"]
    assert {str(i.ReferencedSOPInstanceUID) for i in source.ReferencedInstanceSequence} <= set(places)
    frames = segmentation.PerFrameFunctionalGroupsSequence
    for frame in frames:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        there = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.allclose(places[str(image.ReferencedSOPInstanceUID)], there, atol=1e-3)
    assert len(frames) > 10
    report = pydicom.dcmread(_folder / "out" / "sr.dcm")
    evidence = {
        (str(series.SeriesInstanceUID), str(item.ReferencedSOPInstanceUID))
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert (str(segmentation.SeriesInstanceUID), str(segmentation.SOPInstanceUID)) in evidence
    images = {instance for series, instance in evidence if series == _series["first T2"]["uid"]}
    assert images and images <= set(places)
    assert {series for series, _ in evidence} <= {_series["first T2"]["uid"], str(segmentation.SeriesInstanceUID)}


def test_other_programs_accept_those_objects():
    _indexed("first T2")
    search = os.pathsep.join([str(desk.ROOT / ".venv" / "bin"), os.environ["PATH"]])
    programs = {name: shutil.which(name, path=search) for name in ("dciodvfy", "segimage2itkimage", "tid1500reader")}
    if absent := [name for name, path in programs.items() if not path]:
        raise desk.Skip(f"not here: {', '.join(absent)} (Debian's dicom3tools, pip's dcmqi)")
    out = _folder / "out"
    for name in ("seg.dcm", "sr.dcm", "key_images.dcm"):
        done = subprocess.run([programs["dciodvfy"], out / name], capture_output=True, text=True, check=False)
        assert not [line for line in done.stderr.splitlines() if line.startswith("Error")], done.stderr
    (out / "read").mkdir()
    words = ["--inputDICOM", out / "seg.dcm", "--outputDirectory", out / "read", "-t", "nrrd"]
    subprocess.run([programs["segimage2itkimage"], *words], check=True, capture_output=True)
    assert list((out / "read").glob("*.nrrd"))
    words = ["--inputDICOM", out / "sr.dcm", "--outputMetadata", out / "read" / "sr.json"]
    subprocess.run([programs["tid1500reader"], *words], check=True, capture_output=True)


def test_the_other_patient_shows_nothing_of_it():
    _indexed("first T2", "second T2")
    choose(_series["second T2"]["node"])
    waitIdle()
    desk.settle(0.3)
    assert not panel().ui.resultFrame.visible and case().heatMap is None
    composites = [desk.sliceWidget(name).sliceLogic().GetSliceCompositeNode() for name in ("Red", "Yellow", "Green")]
    shown = {c.GetBackgroundVolumeID() for c in composites} | {c.GetForegroundVolumeID() for c in composites}
    assert shown - {None, ""} == {_series["second T2"]["node"].GetID()}


def test_a_batch_over_the_database_says_what_is_gone_and_takes_no_other_patients_result():
    _indexed("first T2", "first T1", "second T2")
    from DICOMLib import DICOMUtils

    from cnsifusion.analysis import read_result
    from cnsifusion.imaging import read_image
    from CNSIFusionLib import many

    assert DICOMUtils.importDicom(str(_folder / "out"))  # the objects written above are no images to analyze
    series = _series["first T2"]
    last = max(series["files"], key=lambda path: pydicom.dcmread(path, stop_before_pixels=True).InstanceNumber)
    last.unlink()  # what is left would read as a whole, shorter head
    ask, many.askFolder = many.askFolder, lambda _title: str(_folder / "batch")
    try:
        desk.click(panel().ui.batchDatabaseButton)
    finally:
        many.askFolder = ask
    desk.waitFor(lambda: panel().session.batch.view.running, "the batch", 5)
    desk.waitFor(lambda: not panel().session.batch.view.running, "the table", 240)
    desk.settle(0.3)
    assert "3 images analyzed, 2 without a score" in panel().ui.batchLabel.text, panel().ui.batchLabel.text
    with (_folder / "batch" / "cohort.csv").open(encoding="utf-8") as stream:
        rows = {row["patient_id"]: row for row in csv.DictReader(stream)}
    assert set(rows) == {s["uid"] for s in _series.values()}
    assert f"1 of the series' {len(series['files'])} files are not on this computer" in rows[series["uid"]]["problem"]
    assert "not recognised as an axial T2" in rows[_series["first T1"]["uid"]]["problem"]
    scored = rows[_series["second T2"]["uid"]]
    assert scored["problem"] == "" and 0 < float(scored["probability"]) < 1
    result = read_result(_folder / "batch" / scored["folder"] / "result.json")
    assert result.provenance["image_sha256"] == read_image(_folder / "images" / "second T2").sha256


def test_files_deleted_since_indexing_are_named_when_they_are_needed():
    """The volume in the scene still works; what needs its files says that they are gone."""
    _indexed("first T2")
    choose(_series["first T2"]["node"])
    waitIdle()
    panel().guarded(lambda: panel().session.exports.dicom(_folder / "out again"))
    desk.settle(0.3)
    assert "files that the image was opened from cannot be found" in message(), message()
    handed = panel().session.sources.handOver(_series["first T2"]["node"])(_folder / "job without files")
    assert handed.name == "image.nrrd"


def test_what_a_server_listed_and_never_sent_is_not_taken_for_a_whole_series():
    """Such instances have a URL and no file: so a query or a broken retrieve leaves them."""
    _indexed("first T1", "second T2")
    from DICOMLib import DICOMUtils

    from cnsifusion.errors import BadInput
    from cnsifusion.imaging.dicom import gather_series
    from CNSIFusionLib import database

    slicer.dicomDatabase.closeDatabase()
    with contextlib.closing(sqlite3.connect(_folder / "database" / "ctkDICOM.sql")) as connection, connection:
        unsent = "UPDATE Images SET Filename = NULL, URL = 'dicomserver://there' WHERE SeriesInstanceUID = ?"
        connection.execute(unsent, (_series["first T1"]["uid"],))
        last = "SELECT max(SOPInstanceUID) FROM Images WHERE SeriesInstanceUID = ?"
        connection.execute(f"{unsent} AND SOPInstanceUID = ({last})", (_series["second T2"]["uid"],) * 2)
    assert DICOMUtils.openDatabase(str(_folder / "database"))
    found = {patient.name: patient.files for patient in database.patients()}
    assert set(found) == {_series["first T2"]["uid"], _series["second T2"]["uid"]}
    try:
        gather_series(found[_series["second T2"]["uid"]], _folder / "gathered")
    except BadInput as error:
        assert "1 of the series'" in str(error)
    else:
        raise AssertionError("a series without one of its slices was taken for a whole one")
