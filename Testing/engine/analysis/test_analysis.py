"""The whole thread on a simulated patient with the demonstration bundle: result, files, worker, command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from cnsifusion.analysis import Analyzer, read_result
from cnsifusion.analysis.analyze import _outside
from cnsifusion.analysis.batch import Patient, analyze_patients
from cnsifusion.analysis.features import features_of_file
from cnsifusion.analysis.progress import ANALYSIS_STEPS, StepProgress
from cnsifusion.analysis.worker import serve
from cnsifusion.bundles import default_bundle_dir, load_bundle
from cnsifusion.cli import main
from cnsifusion.errors import BadInput, BundleError
from cnsifusion.imaging import Acquisition, read_image, read_labels
from cnsifusion.reporting import write_report
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.roi.region_io import read_regions, write_regions

CLI = [sys.executable, "-c", "import sys; from cnsifusion.cli import main; sys.exit(main(sys.argv[1:]))"]


def test_result_is_whole_and_reads_back(analyzed) -> None:
    out, result, _ = analyzed
    assert read_result(out / "result.json") == result
    assert {"regions", "heatmap", "logmap", "key_images", "report"} <= set(result.files)
    assert all((out / name).stat().st_size > 0 for name in result.files.values())
    assert not list(out.glob(".cnsifusion-*"))
    assert 0 < result.patient.low <= result.patient.high < 1
    assert result.patient.instances == len(result.instances) >= 2
    assert {i.side for i in result.instances} == {"left", "right"}


def test_contributions_sum_to_each_instances_log_odds(analyzed) -> None:
    for instance in analyzed[1].instances:
        assert sum(c.log_odds for c in instance.contributions) == pytest.approx(instance.log_odds, abs=1e-6)
    result = analyzed[1]
    mean = np.mean([i.log_odds for i in result.instances])
    assert sum(c.log_odds for c in result.contributions) == pytest.approx(mean, abs=1e-6)
    blocks, features = result.contributions[:2], [abs(c.log_odds) for c in result.contributions[2:]]
    assert [c.name for c in blocks] == ["baseline", "network"]
    assert features == sorted(features, reverse=True) and features[0] > features[-1]
    for part in result.contributions[2:]:
        same = [c for i in result.instances for c in i.contributions if c.name == part.name]
        known = [(c.value, c.training_quantile) for c in same if c.value is not None]
        assert (part.value, part.training_quantile) == pytest.approx(tuple(np.mean(known, axis=0)))


def test_scores_and_what_lies_above_the_threshold(analyzed) -> None:
    bundle, result = load_bundle(default_bundle_dir()), analyzed[1]
    for i in result.instances:
        assert i.probability == pytest.approx(float(bundle.probability(i.log_odds)))
        assert i.above_threshold == (i.probability >= bundle.settings.threshold)
    score = result.patient
    assert score.log_odds == pytest.approx(np.mean([i.log_odds for i in result.instances]))
    assert score.probability == pytest.approx(float(bundle.probability(score.log_odds)))
    assert score.above_threshold == (score.probability >= score.threshold == bundle.settings.threshold)
    assert score.instances_above == sum(i.above_threshold for i in result.instances)
    assert score.training_prevalence == bundle.settings.cohort.prevalence


def test_demonstration_is_said_everywhere(analyzed) -> None:
    out, result, _ = analyzed
    assert result.demonstration and "simulated" in result.demonstration_text.lower()
    assert "DEMONSTRATION" in result.verdict
    html = (out / "report.html").read_text("utf-8")
    assert html.count("DEMONSTRATION") >= 2 and "Research use only" in html


def test_heat_map_lies_on_the_image_and_the_right_sides(analyzed, simulated_image) -> None:
    out, result, _ = analyzed
    image = read_image(simulated_image)
    for named in (result.heatmap, result.logmap):
        heat = read_image(out / named.file)
        assert heat.grid.is_close(image.grid) and 2 <= named.cell_mm <= 4 and "not where infection is" in named.caption
        assert heat.array.min() >= 0 and heat.array.max() == pytest.approx(1, abs=0.3)
    for instance in result.instances:  # left is positive x in LPS
        assert (instance.position_mm[0] > image.grid.to_lps((np.array(image.grid.size) - 1) / 2)[0]) == (
            instance.side == "left"
        )


def test_progress_names_every_step_once_in_order(analyzed) -> None:
    events = analyzed[2]
    assert [e["name"] for e in events] == [name for name, _ in ANALYSIS_STEPS]
    assert [e["fraction"] for e in events] == sorted(e["fraction"] for e in events)
    assert set(analyzed[1].seconds) == {name for name, _ in ANALYSIS_STEPS}


def test_unknown_step_is_an_error() -> None:
    with pytest.raises(ValueError):
        StepProgress(ANALYSIS_STEPS, lambda event: None)("No such step")


def test_prevalence_follows_bayes(analyzed) -> None:
    score = analyzed[1].patient
    odds = score.probability / (1 - score.probability) * 0.1 / 0.9
    odds *= (1 - score.training_prevalence) / score.training_prevalence
    assert score.at_prevalence(0.1) == pytest.approx(odds / (1 + odds))
    assert score.at_prevalence(score.training_prevalence) == pytest.approx(score.probability)
    with pytest.raises(BadInput):
        score.at_prevalence(1.0)


def test_given_regions_are_used_and_an_empty_one_is_refused(analyzer, analyzed, simulated_image, tmp_path) -> None:
    out, result, _ = analyzed
    again = analyzer.analyze(simulated_image, tmp_path / "again", rois=out / "rois.seg.nrrd")
    assert again.patient.probability == pytest.approx(result.patient.probability, abs=1e-9)
    image = read_image(simulated_image)
    empty = image.with_array(np.zeros(image.array.shape, np.uint8)).to_sitk()
    sitk.WriteImage(empty, str(tmp_path / "empty.nii.gz"))
    with pytest.raises(BadInput):
        analyzer.analyze(simulated_image, tmp_path / "none", rois=tmp_path / "empty.nii.gz")
    assert not (tmp_path / "none" / "result.json").exists()


def test_exchanged_sides_and_a_region_too_small_are_said(
    analyzer, analyzed, simulated_image, tmp_path, capsys
) -> None:
    out, result, _ = analyzed
    regions = read_regions(out / "rois.seg.nrrd", read_image(simulated_image))
    masks = regions.masks
    masks[SUBLENTIFORM_LEFT], masks[SUBLENTIFORM_RIGHT] = masks[SUBLENTIFORM_RIGHT], masks[SUBLENTIFORM_LEFT]
    write_regions(regions, tmp_path / "exchanged.seg.nrrd")
    exchanged = analyzer.analyze(simulated_image, tmp_path / "out", rois=tmp_path / "exchanged.seg.nrrd")
    new = [w for w in exchanged.warnings if w not in result.warnings]
    assert len(new) == 2 and all("are left and right exchanged in the file?" in w for w in new)
    words = [str(simulated_image), str(tmp_path / "exchanged.seg.nrrd"), "-o", str(tmp_path / "f.csv")]
    assert main(["features", *words, "--region", "sublentiform"]) == 0
    assert f"warning: {new[0]}" in capsys.readouterr().out
    kept = masks[SUBLENTIFORM_RIGHT]
    *_, lowest, _ = np.flatnonzero(kept.any(axis=(1, 2)))[::-1]
    kept[lowest] &= np.cumsum(kept[lowest]).reshape(kept[lowest].shape) <= 5
    write_regions(regions, tmp_path / "small.seg.nrrd")
    table = features_of_file(simulated_image, tmp_path / "small.seg.nrrd", "all", "native", settings=None, names=None)
    assert f"Sub-lentiform right, slice {lowest + 1}: " in table.metadata["warnings"][-1]
    assert table.metadata["image_sha256"] and table.metadata["preparation"]["bias_correction"] is True
    for name, mask in masks.items():
        masks[name] = np.zeros_like(mask)
    masks[VENTRICLES][5, 20, 20] = True
    write_regions(regions, tmp_path / "tiny.seg.nrrd")
    with pytest.raises(BadInput, match="drawn, but too small"):
        features_of_file(simulated_image, tmp_path / "tiny.seg.nrrd", "all", "native", None, None)


def test_foci_are_counted_as_drawn_not_as_proposed(analyzer, analyzed, simulated_image, tmp_path) -> None:
    """A reader rejected those of the left and drew one by hand on the right."""
    out, result, _ = analyzed
    assert result.pvs["left"] > 0 and result.pvs["foci"]
    regions = read_regions(out / "rois.seg.nrrd", read_image(simulated_image))
    del regions.masks[PVS_LEFT]
    regions.masks[PVS_RIGHT] = regions.masks.get(PVS_RIGHT, np.zeros(regions.grid.shape, bool)).copy()
    regions.masks[PVS_RIGHT][3, 4:6, 4:6] = True
    rejected, note = "The reader rejected PVS left (artefact).", "One focus may be a lacune."
    regions.withheld[PVS_LEFT], regions.notes[:], regions.origin[VENTRICLES] = rejected, [note], "imported"
    regions.edited.add(PVS_RIGHT)
    write_regions(regions, tmp_path / "edited.seg.nrrd")
    edited = analyzer.analyze(simulated_image, tmp_path / "edited", rois=tmp_path / "edited.seg.nrrd")
    assert (edited.pvs["left"], edited.pvs["right"]) == (0, result.pvs["right"] + 1)
    assert {rejected, note} <= set(edited.warnings)
    made = edited.provenance["region_origin"]
    assert (made[PVS_RIGHT], made[VENTRICLES]) == ("automatic, edited", "imported")
    assert f"right {result.pvs['right'] + 1}" in (tmp_path / "edited" / "report.html").read_text("utf-8")


def test_report_as_pdf_and_another_ending(analyzed, tmp_path) -> None:
    write_report(analyzed[0] / "result.json", tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(BadInput, match="end in"):
        write_report(analyzed[0] / "result.json", tmp_path / "report.docx")


def test_damaged_results_are_refused(analyzed, tmp_path) -> None:
    data = json.loads((analyzed[0] / "result.json").read_text())
    for name, change in (("schema", "other"), ("schema_version", 99), ("patient", {})):
        (tmp_path / "r.json").write_text(json.dumps({**data, name: change}))
        with pytest.raises(BadInput):
            read_result(tmp_path / "r.json")
    for place, name, value in (
        ("patient", "probability", 1.01), ("patient", "low", -0.01), ("patient", "high", 1.01),
        ("patient", "threshold", 1.01), ("patient", "training_prevalence", 0.0),
        ("patient", "training_prevalence", 1.0), ("instances", "probability", 1.01),
    ):  # fmt: skip
        changed = json.loads(json.dumps(data))
        part = changed[place] if place == "patient" else changed[place][-1]
        part[name] = value
        (tmp_path / "r.json").write_text(json.dumps(changed))
        with pytest.raises(BadInput, match="outside 0 to 1"):
            read_result(tmp_path / "r.json")


def test_worker_survives_bad_requests(analyzer, simulated_image, tmp_path) -> None:
    lines = [
        "not json",
        "[1, 2]",
        '{"id": 1, "command": "format"}',
        '{"id": 2, "command": "analyze", "image": 5, "out": "x"}',
        '{"id": 3, "command": "analyze"}',
        '{"id": 3, "command": {"analyze": 1}}',
        '{"id": "\\ud800", "command": "check"}',
        '{"id": 3, "command": "check", "image": "\\ud800"}',
        json.dumps({"id": 4, "command": "check", "image": str(tmp_path / "absent.nii")}),
        json.dumps({"id": 5, "command": "check", "image": str(simulated_image)}),
    ]
    answers: list[dict] = []
    serve(lines, answers.append, analyzer)
    assert [a["event"] for a in answers] == ["error"] * 9 + ["done"]
    assert all(a["exit_code"] == 2 and a["message"] for a in answers[:9])
    assert [a["id"] for a in answers[2:9]] == [1, 2, 3, 3, None, 3, 4]
    assert answers[-1]["check"]["verdict"] in ("ok", "warn") and answers[-1]["id"] == 5


def test_worker_prepares_the_head_of_a_proposal_after_its_answer(simulated_image, tmp_path, monkeypatch) -> None:
    """Nobody waits for the bias field: not the proposal, which does not need it, nor the analysis after it.

    And only regions that a reader gave are doubted.
    """
    monkeypatch.setattr("cnsifusion.roi.case.misplaced", lambda *_: pytest.fail("a proposal was asked who drew it"))
    answers: list[dict] = []
    requests = [
        {"id": n, "command": command, "image": str(simulated_image), "out": str(tmp_path / name)}
        for n, (command, name) in enumerate((("propose", "r.seg.nrrd"), ("analyze", "out")))
    ]
    serve(map(json.dumps, requests), answers.append, Analyzer())
    steps = [[a["name"] for a in answers if a["id"] == n and a["event"] == "progress"] for n in (0, 1)]
    assert steps[0] == ["Read the image", "Check and locate the anatomy", "Propose regions"]
    assert steps[1][:3] == ["Read the image", "Propose regions", "Compute radiomics"]
    assert [a["event"] for a in answers].count("done") == 2
    assert (tmp_path / "r.seg.nrrd").is_file() and (tmp_path / "out" / "result.json").is_file()


def run(*words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([*CLI, *map(str, words)], capture_output=True, text=True, check=False, timeout=300)


def test_command_line_exit_codes(simulated_image, tmp_path) -> None:
    (tmp_path / "text.nii.gz").write_text("no image")
    for words, code in (
        (("analyze", tmp_path / "text.nii.gz", "-o", tmp_path / "a"), 2),
        (("analyze", simulated_image, "--bundle", tmp_path, "-o", tmp_path / "a"), 3),
        (("check", simulated_image), 0),
        (("bundle", "verify", tmp_path), 3),
    ):
        done = run(*words)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        if code:
            assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_cancelled_run_leaves_nothing(simulated_image, tmp_path) -> None:
    words = [*CLI, "analyze", str(simulated_image), "-o", str(tmp_path / "out"), "--progress", "jsonl"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(child.stdout.readline())["event"] == "progress"
    time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 5
    assert not list(tmp_path.rglob("*.*"))


REFUSED = ("cstar_stroke/FLAIR_brain.nii.gz", "sri24/spgr.nii.gz", "sri24/erly.nii.gz")


@pytest.mark.parametrize("name", REFUSED)
def test_other_contrasts_are_refused(analyzer, real, name, tmp_path) -> None:
    with pytest.raises(BadInput, match="T2"):
        analyzer.analyze(real(name), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sagittal_storage_is_fine_but_sagittal_slices_are_refused(analyzer, real, tmp_path) -> None:
    image = sitk.ReadImage(str(real("sri24/late.nii.gz")))
    image = image[..., 0] if image.GetDimension() == 4 else image
    sagittal = sitk.Shrink(image, [5, 1, 1])
    sitk.WriteImage(sagittal, str(tmp_path / "sagittal.nii.gz"))
    with pytest.raises(BadInput, match="sagittal"):
        analyzer.analyze(tmp_path / "sagittal.nii.gz", tmp_path / "out")


@pytest.mark.parametrize("name", ["oms_patient01_study1", "oms_patient03_study2"])
def test_real_volumes_give_regions_where_the_anatomy_is(analyzer, real, name, tmp_path) -> None:
    result = analyzer.analyze(real(f"{name}/T2w.nii.gz"), tmp_path)
    truth, grid = read_labels(real(f"{name}/silver_dseg.nii.gz"))
    lentiform = np.argwhere(np.isin(truth, (4, 5, 6, 7)))[:, ::-1]
    lps = grid.to_lps(lentiform)
    for instance in result.instances:
        side = lps[(lps[:, 0] > np.median(lps[:, 0])) == (instance.side == "left")]
        in_plane = np.linalg.norm(side[:, :2].mean(axis=0) - instance.position_mm[:2])
        assert in_plane < 15, instance.key
        assert instance.position_mm[2] < np.percentile(side[:, 2], 60)


def test_a_missing_engine_is_said_before_the_image_is_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "radiomics", None)
    with pytest.raises(BadInput, match="pyradiomics engine is not installed"):
        features_of_file(tmp_path / "none.nii.gz", tmp_path / "none.seg.nrrd", "all", "pyradiomics", None, None)
    settings = tmp_path / "settings.json"
    settings.write_text("{")
    with pytest.raises(BadInput, match="radiomics settings"):
        features_of_file(tmp_path / "none.nii.gz", tmp_path / "none.seg.nrrd", "all", "native", settings, None)


def test_outputs_that_cannot_be_written_are_refused_before_any_work(simulated_image, tmp_path, analyzer) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    image = tmp_path / "none.nii.gz"  # whatever is said is said before this is missed
    for out in (file, file / "below"):
        with pytest.raises(BadInput, match="a file has its name"):
            analyzer.analyze(image, out)
    for out, said in ((tmp_path / "r.nii.gz", ".seg.nrrd"), (file / "r.seg.nrrd", "a file has its name")):
        with pytest.raises(BadInput, match=said):
            analyzer.propose(image, out)
    for out in (tmp_path / "f.txt", file / "f.csv"):
        assert main(["features", str(image), str(image), "-o", str(out)]) == 2
    assert main(["report", str(image), "-o", str(tmp_path / "r.txt")]) == 2
    assert file.read_text() == "mine" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_former_runs_map_does_not_stay_beside_a_result(
    analyzed, analyzer, simulated_image, tmp_path, monkeypatch
) -> None:
    """A model without a network draws no heat map: one that lay there is of another run, perhaps another head."""
    out = tmp_path / "out"
    shutil.copytree(analyzed[0], out)
    (out / "notes.txt").write_text("the reader's own")
    monkeypatch.setattr("cnsifusion.analysis.analyze.network_maps", lambda *arguments: [])
    result = analyzer.analyze(simulated_image, out)
    assert result.heatmap is None
    assert {p.name for p in out.iterdir()} == {*result.files.values(), "result.json", "notes.txt"}


@pytest.mark.parametrize("part", ["preparation", "patches", "radiomics"])
def test_a_bundle_with_settings_of_another_program_is_refused_before_the_image_is_read(part, tmp_path) -> None:
    shutil.copytree(default_bundle_dir(), tmp_path / "bundle")
    path = tmp_path / "bundle" / "bundle.json"
    content = json.loads(path.read_text("utf-8"))
    wrong = {"preparation": {"x": 1}, "patches": {"size_mm": "wide"}, "radiomics": {"log_sigmas_mm": [1e-9]}}
    content[part] |= wrong[part]
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(BundleError, match="does not know"):
        Analyzer().analyze(tmp_path / "none.nii.gz", tmp_path / "out", bundle=tmp_path / "bundle")
    assert main(["bundle", "verify", str(tmp_path / "bundle")]) == 3
    patients = [Patient("one", (tmp_path / "none.nii.gz",))]
    with pytest.raises(BundleError, match="does not know"):  # once, not in every patient's row
        analyze_patients(Analyzer(), patients, tmp_path / "out", tmp_path / "bundle")


@pytest.mark.parametrize("name", ["rois.seg.nrrd", "report.html", "heatmap.nii.gz", "logmap.nii.gz"])
def test_a_file_that_no_analysis_wrote_is_not_replaced(name, simulated_image, tmp_path, capsys) -> None:
    """A reader's own file may have the name of ours."""
    (tmp_path / name).write_text("drawn by hand")
    assert main(["analyze", str(simulated_image), "-o", str(tmp_path)]) == 2
    assert "no analysis wrote" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_no_result_names_files_of_which_some_are_of_another_run(
    analyzed, analyzer, simulated_image, tmp_path, monkeypatch
) -> None:
    """The disk fails while a former result is being replaced: there is none then, rather than a mixture."""
    out, replace = tmp_path / "out", Path.replace
    shutil.copytree(analyzed[0], out)

    def failing(self: Path, target: Path) -> Path:
        if target == out / "logmap.nii.gz":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(BadInput, match="could not be written"):
        analyzer.analyze(simulated_image, out)
    assert (out / "rois.seg.nrrd").exists() and not (out / "result.json").exists()


def test_what_lies_outside_the_training_ranges_is_said() -> None:
    """Slice distance and pixels of the image, features that lie far out, and a filter the protocol keeps for others."""
    bundle = load_bundle(default_bundle_dir())
    spacing = (0.5, 0.5, 2.0)
    case = SimpleNamespace(volume=SimpleNamespace(spacing=spacing, acquisition=Acquisition()))
    for often, words in ([], None), ([["a"]], "1 of the model's features lies far"), ([["a", "b"]], "2 of the model's"):
        said = _outside(case, bundle, SimpleNamespace(out_of_range=often))
        assert said[0].startswith("Slice spacing of 2 mm lies outside the training range")
        assert any(words in sentence for sentence in said) if words else not any("features" in s for s in said)
        assert "filters in plane" in said[-1]
