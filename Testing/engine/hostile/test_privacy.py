"""A DICOM series full of identifiers through a whole run, without a network: nothing written or printed names them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from dicom_files import write_series

from cnsifusion.analysis import Analyzer
from cnsifusion.analysis.worker import answer
from cnsifusion.cli import main
from cnsifusion.imaging import read_image

CLI = [sys.executable, "-c", "import sys; from cnsifusion.cli import main; sys.exit(main(sys.argv[1:]))"]
TAGS = {
    "PatientID": "PID-88123", "PatientBirthDate": "19610423", "AccessionNumber": "ACC-55871",
    "InstitutionName": "Kantonsspital Sankt Zufall", "ReferringPhysicianName": "Grauwacke^Otto",
    "StudyDescription": "Schaedel Quarzsandstein", "OtherPatientNames": "Feldspat^Anna", "StationName": "MRZWO7",
}  # fmt: skip
WORDS = (
    "Glimmerschiefer", "Henriette", "PID-88123", "19610423", "1961-04-23", "ACC-55871", "Sankt Zufall", "Grauwacke",
    "Quarzsandstein", "Feldspat", "MRZWO7",
)  # fmt: skip

#: What an archive files an object by: the patient's name, number and birth date; the study's number, physician, title.
FILED_BY = {
    "Glimmerschiefer", "Henriette", "PID-88123", "19610423", "ACC-55871", "Grauwacke", "Quarzsandstein",
}  # fmt: skip


def found(content: bytes) -> list[str]:
    """Identifiers in bytes, in UTF-8 or UTF-16."""
    lower = content.lower()
    return [w for w in WORDS if w.lower().encode() in lower or w.lower().encode("utf-16-le") in lower]


@pytest.fixture(scope="module")
def series(simulated_image, tmp_path_factory) -> Path:
    """The simulated head as a DICOM series whose header, folder and file names name the patient."""
    folder = tmp_path_factory.mktemp("store") / "Glimmerschiefer_Henriette_19610423"
    volume = read_image(simulated_image)
    for path in write_series(volume, folder, name="Glimmerschiefer^Henriette", **TAGS):
        path.rename(path.with_name(f"Glimmerschiefer_{path.name}.dcm"))
    assert found((folder / "Glimmerschiefer_IM0000.dcm").read_bytes())
    return folder


def test_nothing_names_the_patient_and_no_network_is_needed(series, tmp_path) -> None:
    isolated = ["unshare", "-n"] if _may_unshare() else []
    out = tmp_path / "out"
    run = [*isolated, *CLI, "analyze", str(series), "-o", str(out), "--progress", "jsonl"]
    done = subprocess.run(run, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert found(done.stdout) == [] and found(done.stderr) == []
    files = [p for p in out.rglob("*") if p.is_file()]
    assert len(files) >= 4
    assert [(p.name, found(p.read_bytes() + p.name.encode())) for p in files if found(p.read_bytes())] == []
    main(["report", str(out / "result.json"), "-o", str(tmp_path / "report.pdf")])
    assert found((tmp_path / "report.pdf").read_bytes()) == []
    _dicom_objects(out, series, tmp_path / "Dicom")
    if isolated:
        again = subprocess.run([*CLI, "analyze", str(series), "-o", str(tmp_path / "b"), "--progress", "jsonl"],
                               capture_output=True, check=True, timeout=300)  # fmt: skip
        probabilities = [json.loads(d.stdout.splitlines()[-1])["probability"] for d in (done, again)]
        assert probabilities[0] == probabilities[1]
    else:
        pytest.skip("identifiers checked; a network namespace of its own is not permitted here")


def _dicom_objects(out: Path, series: Path, folder: Path) -> None:
    """DICOM objects say whose they are and of which study, as an archive needs it, and nothing else of the series."""
    pytest.importorskip("highdicom")
    from cnsifusion.reporting.dicom import export_dicom

    written = export_dicom(out / "result.json", series, folder, True)
    assert {p.name for p in folder.iterdir()} == {p.name for p in written} == {"seg.dcm", "sr.dcm", "key_images.dcm"}
    for path in written:
        words = set(found(path.read_bytes()))
        assert {"Glimmerschiefer", "PID-88123", "ACC-55871"} <= words <= FILED_BY, path.name


def test_refusals_do_not_name_the_patient(series, tmp_path) -> None:
    broken = tmp_path / "Glimmerschiefer"
    shutil.copytree(series, broken)
    paths = sorted(broken.iterdir())
    paths[3].write_bytes(paths[3].read_bytes()[:3000])
    (broken / "Glimmerschiefer.nii").write_bytes(b"\x5c\x01" + bytes(400))
    for name in (broken, broken / "Glimmerschiefer.nii", broken / "Henriette.mha"):
        run = [*CLI, "analyze", str(name), "-o", str(tmp_path / "x"), "--progress", "jsonl"]
        done = subprocess.run(run, capture_output=True, check=False, timeout=300)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert found(done.stdout) == [] and found(done.stderr) == []


def _may_unshare() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0


@pytest.mark.parametrize("words", [("check", "x.nii.gz"), ("analyze", "x.nii.gz", "-o", "o", "--progress", "jsonl")])
def test_a_fault_of_the_program_is_one_line_without_the_words_of_the_error(words, monkeypatch, capsys) -> None:
    def broken(self, *arguments, **options):
        raise ValueError("/data/Glimmerschiefer_Henriette/T2.nii.gz")

    monkeypatch.setattr(Analyzer, "check", broken)
    monkeypatch.setattr(Analyzer, "analyze", broken)
    assert main(list(words)) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and "ValueError in cli.py:" in err and found((out + err).encode()) == []
    assert ('"exit_code": 1' in out) == ("jsonl" in words)


def test_the_worker_logs_where_it_failed_and_not_on_whose_file(caplog, monkeypatch) -> None:
    monkeypatch.setattr(Analyzer, "check", lambda self, image: open(image))  # noqa: PTH123, SIM115
    events: list[dict] = []
    answer('{"id": 1, "command": "check", "image": "/none/Glimmerschiefer.nii.gz"}', events.append, Analyzer())
    assert events[-1]["exit_code"] == 1 and "FileNotFoundError in worker.py:" in caplog.text
    assert found((caplog.text + json.dumps(events)).encode()) == []
