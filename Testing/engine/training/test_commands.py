"""The cohort commands as typed at a terminal, on simulated heads: tables, resuming, and what they refuse to begin."""

import csv
import errno
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("torch")

from cnsifusion.cli import main
from cnsifusion.errors import Cancelled
from cnsifusion.imaging import read_image
from cnsifusion.models.backbones import load_backbone, save_backbone
from cnsifusion.models.settings import get_model
from cnsifusion.radiomics import FeatureTable
from cnsifusion.radiomics.settings import ENGINE_VERSION
from cnsifusion.roi.names import SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT
from cnsifusion.roi.region_io import read_regions, write_regions
from cnsifusion.training import cases

QUICK = {
    "folds": 2, "inner_folds": 2, "selectors": ["mrmr"], "feature_counts": [4], "bootstrap": 20, "ablations": [],
    "leave_site_out": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Manifest of 4 + 4 simulated patients in the deep view."""
    out = tmp_path_factory.mktemp("cohort")
    words = ["--patients", "4", "--controls", "4", "--seed", "3", "--view", "deep"]
    assert main(["simulate", str(out), *words]) == 0
    return out / "manifest.csv"


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def rewritten(manifest, tmp_path, change):
    """A copy of the manifest (absolute paths) after ``change`` of its list of rows."""
    rows = rows_of(manifest)
    for row in rows:
        for column in ("image", "rois", "placement"):
            row[column] = str(manifest.parent / row[column])
    rows = change(rows)
    path = tmp_path / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def named_after_patients(rows, folder):
    """The rows with numbers of a hospital, their files in a folder and under names that tell who it is."""
    folder.mkdir()
    for number, row in enumerate(rows):
        row["patient_id"] = f"PID-881{number}"
        for column in ("image", "rois", "placement"):
            own = folder / f"Feldspat_Anna_{number}_{column}{''.join(Path(row[column]).suffixes)}"
            row[column] = shutil.copy(row[column], own)
    return rows


def without_labels(rows):
    """The rows of patients of whom nobody knows yet."""
    return [{name: value for name, value in row.items() if name != "label"} for row in rows]


def files_with(folder, word):
    """Files below the folder with the word in their name, bytes or (of arrays) texts."""

    def texts(path):
        if path.suffix != ".npz":
            return path.read_bytes().decode("latin-1")
        with np.load(path, allow_pickle=False) as arrays:
            return " ".join(str(v) for n in arrays.files if arrays[n].dtype.kind in "US" for v in arrays[n].ravel())

    return [p for p in sorted(folder.rglob("*")) if p.is_file() and (word in p.name or word in texts(p))]


def test_cohort_features_is_one_table_that_resumes(cohort, tmp_path, capsys, monkeypatch):
    table, settings = tmp_path / "table.csv", tmp_path / "settings.json"
    settings.write_text(json.dumps({"radiomics": {"log_sigmas_mm": [1, 90], "log_mode": "2D"}}))
    words = ["cohort", "features", str(cohort), "--settings", str(settings), "-o", str(table)]
    heads, prepare = [], cases.prepare_case
    monkeypatch.setattr(cases, "prepare_case", lambda *a, **k: heads.append(a[0].sha256) or prepare(*a, **k))
    assert main(words) == 0
    assert len(heads) == len(set(heads)) == 8, "a patient was prepared once for each region"
    found = FeatureTable.read(table)
    assert set(found.ids["patient_id"]) == {row["patient_id"] for row in rows_of(cohort)}
    assert {"sublentiform", "lateral"} <= set(found.ids["part"])
    assert {row["engine_version"] for row in rows_of(table)} == {ENGINE_VERSION}
    assert {f"{p}|{s}|{k}" for p, s, k in zip(*(found.ids[c] for c in ("part", "side", "slice")))} == {
        *found.ids["instance"]
    }
    assert set(found.reasons.values()) == {"the image is too small for a LoG of 90 mm"}
    assert np.isnan(found.column("log-sigma-90-0-mm-2D_glcm_Contrast")).all() and len(found.reasons) == 93 * len(found)
    assert any("acquired pixel size is unknown" in w for w in found.metadata["warnings"])
    assert found.metadata["manifest_sha256"] and found.metadata["preparation"]["bias_correction"] is True
    assert main(words) == 2 and "--resume" in capsys.readouterr().err
    first = table.read_bytes()
    table.unlink()
    assert main([*words, "--resume"]) == 0 and table.read_bytes() == first
    bare = rewritten(cohort, tmp_path, lambda rows: [{**row, "handedness": "left"} for row in without_labels(rows)])
    assert main([*words[:2], str(bare), *words[3:], "--resume"]) == 0 and len(heads) == 8
    bare = FeatureTable.read(table)
    assert any("handedness" in warning for warning in bare.metadata["warnings"])
    assert len(set(bare.metadata["cohort_hashes"])) == 2 and bare.metadata["submask"] == "whole"
    assert "label" not in bare.ids and np.array_equal(bare.values, found.values, equal_nan=True)
    prepared = len(list((tmp_path / "table.work" / "cases").iterdir()))
    monkeypatch.setattr(cases, "preparation_source", lambda: "the source of another day")
    assert main([*words, "--region", "sublentiform", "--resume"]) == 0
    assert len(list((tmp_path / "table.work" / "cases").iterdir())) > prepared  # prepared anew, not taken for the same
    alone = FeatureTable.read(table)
    assert np.array_equal(alone.values, found.values[: len(alone)], equal_nan=True)  # with the other region, or without


def test_labels_of_another_program_are_assigned_in_every_file_of_a_manifest(cohort, tmp_path, capsys):
    """Two patients' sides under another program's numbers give the table of the same sides under their names."""

    def drawn(rows):
        for n, row in enumerate(rows := rows[:2]):
            volume = read_image(row["image"])
            regions = read_regions(row["rois"], volume)
            left, right = (regions.masks[name] for name in (SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT))
            regions.masks, regions.parts = {SUBLENTIFORM_LEFT: left, SUBLENTIFORM_RIGHT: right}, None
            write_regions(regions, tmp_path / f"{n}.seg.nrrd")
            labels = volume.with_array(4.0 * left + 43.0 * right).to_sitk()
            sitk.WriteImage(sitk.Cast(labels, sitk.sitkUInt8), tmp_path / f"{n}.nii.gz")
        return rows

    def features(ending, *words):
        manifest = rewritten(cohort, tmp_path, lambda rows: [
            {**row, "rois": str(tmp_path / f"{n}{ending}") if ending else ""} for n, row in enumerate(rows[:2])
        ])  # fmt: skip
        table = tmp_path / f"table{ending}.csv"
        code = main(["cohort", "features", str(manifest), *words, "-o", str(table), "--region", "sublentiform"])
        return FeatureTable.read(table) if code == 0 else capsys.readouterr().err

    rewritten(cohort, tmp_path, drawn)
    assert "say which is which" in features(".nii.gz")
    assert "no patient has one" in features("", "--resume", "--assign", "4=CSF ventricles")
    assert "not one of the protocol's regions" in features(".nii.gz", "--resume", "--assign", "4=Liver")
    sides = ["--assign", f"4={SUBLENTIFORM_LEFT}", f"43={SUBLENTIFORM_RIGHT}"]
    named, assigned = features(".seg.nrrd"), features(".nii.gz", *sides, "--resume")
    assert np.array_equal(assigned.values, named.values, equal_nan=True)
    assert assigned.ids["side"] == named.ids["side"] and set(named.ids["side"]) == {"left", "right"}
    assert assigned.metadata["assigned"] == {"4": SUBLENTIFORM_LEFT, "43": SUBLENTIFORM_RIGHT}
    assert set(features(".nii.gz", *sides[:2], "--resume").ids["side"]) == {"left"}  # not what was prepared before


def test_evaluate_writes_figures_from_images_and_names_patients_where_it_must(cohort, tmp_path, capsys):
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({**QUICK, "ablations": ["with-shape", "pvs-only"]}))
    named = rewritten(cohort, tmp_path, lambda rows: named_after_patients(rows, tmp_path / "Glimmerschiefer"))
    shutil.copy(cohort.parent / "simulation.json", tmp_path)  # says that these are simulated
    words = ["--region", "sublentiform", "--models", "radiomics-logistic", "--settings", str(settings)]
    assert main(["evaluate", str(named), *words, "--progress", "jsonl", "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    stamp = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert json.loads(said.out.splitlines()[-1])["warnings"] == stamp["warnings"] != []
    assert stamp["source"]["training"] and stamp["versions"]["torch"]
    assert not any(word in said.out + said.err for word in ("Glimmerschiefer", "Feldspat", "PID-881"))
    names = {p.relative_to(tmp_path / "out") for p in files_with(tmp_path / "out", "PID-881")}
    assert {p.name.split("-")[0] for p in names} == {"predictions.csv", "instance_predictions.csv", "cohort"}, names
    assert files_with(tmp_path / "out", "Glimmerschiefer") == files_with(tmp_path / "out", "Feldspat") == []
    metrics = rows_of(tmp_path / "out" / "patient_metrics.csv")
    assert {"radiomics-logistic", "age-sex", "acquisition"} <= {row["model"] for row in metrics}
    report = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "SIMULATED" in report and "The ablation pvs-only was left out: 8 patients cannot be used." in report
    assert [row["ablation"] for row in rows_of(tmp_path / "out" / "ablations.csv")] == ["with-shape"]


def test_a_backbone_pre_trained_at_the_command_line_serves_evaluation(cohort, tmp_path, capsys):
    settings, weights = tmp_path / "settings.json", tmp_path / "mobilenet_v3_large.pt"
    settings.write_text(json.dumps({**QUICK, "checkpoints": [1], "augmentations": 0}))
    words = [str(cohort), "--region", "sublentiform", "--settings", str(settings)]
    other = tmp_path / "other"
    assert main(["simulate", str(other), "--patients", "4", "--controls", "4", "--seed", "4", "--view", "deep"]) == 0
    bare = rewritten(other / "manifest.csv", tmp_path, without_labels)
    pretrain = ["pretrain", str(bare), *words[1:], "--model", "mobilenetv3-large", "--steps", "10", "-o", str(weights)]
    assert main(pretrain) == 0 and weights.is_file()
    _assert_no_patient_is_met_again(cohort, rows_of(bare), words[1:], weights, tmp_path, capsys)
    words += ["--models", "mobilenetv3-large", "--backbone-weights", str(tmp_path), "-o", str(tmp_path / "out")]
    assert main(["evaluate", *words]) == 0
    stamp = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert stamp["backbone_origins"] == {"mobilenetv3-large": "simulated"}
    assert not any("pre-trained on" in warning for warning in stamp["warnings"])
    save_backbone(load_backbone(get_model("mobilenetv3-large"), weights), weights)  # as an older program wrote it
    assert main(["evaluate", *words, "--resume"]) == 0
    stamp = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert any("does not keep which patients it was pre-trained on" in warning for warning in stamp["warnings"])
    (tmp_path / "real").mkdir()
    for row in (rows := rows_of(cohort)):
        for column in ("image", "rois", "placement"):
            row[column] = shutil.copy(cohort.parent / row[column], tmp_path / "real" / Path(row[column]).name)
    real = rewritten(cohort, tmp_path / "real", lambda _: rows)
    assert main([*pretrain[:1], str(real), *pretrain[2:-1], str(tmp_path / "x.pt")]) == 2
    assert "takes simulated patients" in capsys.readouterr().err


def _assert_no_patient_is_met_again(cohort, learnt_from, words, weights, tmp_path, capsys):
    """By its image under another number and file name, or by simulate's number though its image differs."""
    copied = shutil.copy(learnt_from[0]["image"], tmp_path / "copy.nii.gz")
    first = rows_of(cohort)[0]
    for number, image in (("P-1", copied), (learnt_from[1]["patient_id"], cohort.parent / first["image"])):
        met = rewritten(cohort, tmp_path, lambda rows, own=(number, image): [
            {**row, "placement": ""} | ({"patient_id": own[0], "image": str(own[1]), "rois": ""} if n == 0 else {})
            for n, row in enumerate(rows)
        ])  # fmt: skip
        for command, models in (("evaluate", "--models"), ("train", "--model")):
            typed = [command, str(met), *words, models, "mobilenetv3-large", "--backbone-weights", str(weights)]
            assert main([*typed, "-o", str(tmp_path / "refused")]) == 2
            assert "pre-trained on 1 patient of this manifest (line 2)" in capsys.readouterr().err


def test_a_seed_that_is_typed_goes_before_the_files(cohort, tmp_path, monkeypatch):
    settings, seen = tmp_path / "settings.json", []
    settings.write_text(json.dumps({**QUICK, "seed": 7}))

    def stop(experiment, models, *_):
        seen.append(experiment.settings.seed)
        assert models == ["radiomics-logistic", "radiomics-boosting"]
        raise Cancelled

    monkeypatch.setattr("cnsifusion.training.evaluate.evaluate_models", stop)
    named = ["--models", "radiomics-logistic, radiomics-boosting,"]
    words = ["evaluate", str(cohort), "--region", "sublentiform", *named, "-o"]
    for typed in ([], ["--seed", "0"]):
        assert main([*words, str(tmp_path / "out"), "--settings", str(settings), *typed]) == Cancelled.exit_code
    assert seen == [7, 0]


def test_the_bundles_name_and_the_kind_of_controls_are_typed(cohort, tmp_path, monkeypatch):
    settings, seen = tmp_path / "settings.json", []
    settings.write_text(json.dumps(QUICK))

    def stop(experiment, model, out, name, controls):
        seen.append((model, name, controls))
        raise Cancelled

    monkeypatch.setattr("cnsifusion.training.train.train_bundle", stop)
    words = ["train", str(cohort), "--region", "sublentiform", "--model", "radiomics-logistic", "--name", "Ours"]
    words += ["--settings", str(settings), "--kind-of-controls", "headache", "-o", str(tmp_path / "bundle")]
    assert main(words) == Cancelled.exit_code
    assert seen == [("radiomics-logistic", "Ours", "headache")]


@pytest.mark.parametrize("jobs", ["0", "-1", "2.5", "all"])
def test_a_number_of_processes_is_one_or_more(cohort, tmp_path, capsys, jobs):
    words = ["evaluate", str(cohort), "--region", "sublentiform", "--models", "radiomics-logistic"]
    assert main([*words, "-o", str(tmp_path / "out"), "--jobs", jobs]) == 2
    assert "at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["pretrain", "--region", "sublentiform", "--model", "radiomics-logistic", "-o", "OUT.pt"], "has no backbone"),
        (["pretrain", "--region", "sublentiform", "--model", "densenet201", "-o", "OUT"], "end in .pt"),
        (["evaluate", "--region", "sublentiform", "--models", "densenet201", "--backbone-weights", "OUT.pt",
          "-o", "OUT"], "no file or folder of backbone weights"),
        (["evaluate", "--region", "sublentiform", "--models", "mobilenetv3-large,radiomics-logistic,densenet201",
          "--backbone-weights", __file__, "-o", "OUT"], "with densenet201.pt or mobilenet_v3_large.pt"),
        (["train", "--region", "sublentiform", "--model", "mobilenetv3-large", "--backbone-weights",
          str(Path(__file__).parent), "-o", "OUT"], "Give a folder of backbone weights with mobilenet_v3_large.pt"),
        (["cohort", "features", "-o", "OUT.xlsx"], ".csv or .parquet"),
        (["cohort", "features", "--bundle", "OUT", "-o", "OUT.csv"], "leave out --bundle"),
        (["cohort", "analyze", "--region", "ventricles", "-o", "OUT"], "--region"),
        (["cohort", "analyze", "--settings", "OUT.json", "-o", "OUT"], "--settings"),
        (["train", "--region", "sublentiform", "--model", "vgg16", "-o", "OUT"], "Unknown model vgg16"),
        (["train", "--region", "sublentiform", "--model", "radiomics-logistic", "-o", "OUT"], "inner folds need (7)"),
        (["evaluate", "--region", "sublentiform", "--models", ",", "-o", "OUT"], "inner folds need (7)"),
    ],
)  # fmt: skip
def test_what_is_refused_before_any_work(cohort, tmp_path, capsys, words, sentence):
    words = [str(tmp_path / w) if w.startswith("OUT") else w for w in words]
    assert main([*words, str(cohort)]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.rglob("*"))


def test_all_patients_that_cannot_be_used_come_in_one_table(cohort, tmp_path, capsys):
    """Regions too small or on the other side are only found when images are read: still one table, nothing written."""

    def change(rows):
        for row, side in zip(rows[:2], (SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT)):
            volume = read_image(row["image"])
            regions = read_regions(row["rois"], volume)
            one = tuple(np.argwhere(regions.masks[SUBLENTIFORM_LEFT])[0])
            for mask in regions.masks.values():
                mask[:] = False
            regions.masks[side][one] = True
            row["rois"] = str(tmp_path / f"{row['patient_id']}.seg.nrrd")
            write_regions(regions, row["rois"])
        return rows[:2]

    words = ["cohort", "features", str(rewritten(cohort, tmp_path, change)), "--region", "sublentiform"]
    assert main([*words, "-o", str(tmp_path / "table.csv")]) == 2
    text = capsys.readouterr().err
    assert "2 patients cannot be used" in text and "line 2" in text and "line 3" in text and "fewer than 64" in text
    assert "“Sub-lentiform right” lies on the patient's left" in text
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.parametrize("copy", ["copy.nii.gz", "copy.nrrd"])
def test_copies_of_one_image_are_not_two_patients(cohort, tmp_path, capsys, copy):
    """The same bytes, or the same voxels in another file."""

    def change(rows):
        rows[1]["image"] = shutil.copy(rows[0]["image"], tmp_path / "copy.nii.gz")
        if copy != "copy.nii.gz":
            sitk.WriteImage(sitk.ReadImage(rows[1]["image"]), str(tmp_path / copy))
            rows[1]["image"] = str(tmp_path / copy)
        rows[1]["placement"] = rows[0]["placement"]
        regions = read_regions(rows[0]["rois"], read_image(rows[0]["image"]))
        regions.masks[SUBLENTIFORM_LEFT][tuple(np.argwhere(regions.masks[SUBLENTIFORM_LEFT])[0])] = False
        rows[1]["rois"] = str(tmp_path / "another-reader.seg.nrrd")
        write_regions(regions, rows[1]["rois"])
        return rows[:2]

    words = ["cohort", "features", str(rewritten(cohort, tmp_path, change)), "--region", "sublentiform"]
    assert main([*words, "-o", str(tmp_path / "table.csv")]) == 2
    text = capsys.readouterr().err
    assert "1 patient cannot be used" in text and "line 3      the same image as in line 2" in text


def test_a_table_does_not_take_its_manifests_place_and_says_what_it_doubts(cohort, tmp_path, capsys):
    manifest = rewritten(cohort, tmp_path, lambda rows: [{**row, "edited_by": "A"} for row in rows[:2]])
    before = manifest.read_bytes()
    words = ["cohort", "features", str(manifest), "--region", "sublentiform"]
    assert main([*words, "-o", str(tmp_path / "other" / ".." / "manifest.csv")]) == 2
    assert manifest.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["manifest.csv"]
    assert main([*words, "-o", str(tmp_path / "table.csv")]) == 0
    assert "warning: The manifest's column edited_by is not known" in capsys.readouterr().out


def test_a_full_disk_ends_the_run_and_blames_no_patient(cohort, tmp_path, capsys, monkeypatch):
    def full(*words, **arrays):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cases.np, "savez", full)
    words = ["cohort", "features", str(rewritten(cohort, tmp_path, lambda rows: rows[:2])), "--region", "sublentiform"]
    assert main([*words, "-o", str(tmp_path / "table.csv")]) == 2
    text = capsys.readouterr().err
    assert "No space left" in text and "line" not in text


def test_a_sidecar_that_came_later_is_read(cohort, tmp_path):
    """The acquisition that a patient was prepared with comes from it."""

    def change(rows):
        shutil.copy(rows[0]["image"], tmp_path / "T2w.nii.gz")
        rows[0]["image"] = str(tmp_path / "T2w.nii.gz")
        return rows[:1]

    words = ["cohort", "features", str(rewritten(cohort, tmp_path, change)), "--region", "sublentiform", "--resume"]
    for stated in ({}, {"EchoTime": 0.09}):
        if stated:
            (tmp_path / "T2w.json").write_text(json.dumps(stated))
        assert main([*words, "-o", str(tmp_path / "table.csv")]) == 0
    echo = [np.load(path)["quantities"][cases.QUANTITIES.index("echo_time_ms")] for path in
            (tmp_path / "table.work" / "cases").iterdir()]  # fmt: skip
    assert len(echo) == 2 and np.nanmax(echo) == pytest.approx(90) and np.isnan(echo).sum() == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_cancelled_run_blames_no_patient(cohort, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cases, "_prepared", lambda task: os.kill(os.getpid(), signal.SIGTERM))
    words = ["cohort", "features", str(rewritten(cohort, tmp_path, lambda rows: rows[:2])), "--region", "sublentiform"]
    assert main([*words, "-o", str(tmp_path / "table.csv")]) == 5
    assert capsys.readouterr().err.endswith("cnsifusion: Cancelled.\n")


def test_a_known_placement_is_for_evaluation_only(cohort, tmp_path, capsys):
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(QUICK))
    words = ["train", str(cohort), "--region", "sublentiform", "--model", "radiomics-logistic"]
    assert main([*words, "--settings", str(settings), "-o", str(tmp_path / "bundle")]) == 2
    assert "evaluated only" in capsys.readouterr().err and not (tmp_path / "bundle").exists()
