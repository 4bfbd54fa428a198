"""Hostile region files, results, manifests and settings: one sentence each, no traceback, nothing opened elsewhere."""

from __future__ import annotations

import json
import shutil

import hostile_documents
import hostile_files
import numpy as np
import pytest
from test_hostile_input import is_one_sentence

from cnsifusion.cli import main
from cnsifusion.errors import BadInput
from cnsifusion.imaging import write_volume
from cnsifusion.roi.region_io import read_regions


def test_the_good_region_file_is_good(tmp_path) -> None:
    again = read_regions(hostile_documents.good_seg(tmp_path), hostile_documents.HEAD)
    whole = hostile_documents.regions()
    assert all(np.array_equal(again.masks[name], mask) for name, mask in whole.masks.items())
    assert len(again.foci) == 1 and again.notes == whole.notes


@pytest.mark.parametrize("name", hostile_documents.REGION_FILES)
def test_hostile_region_files_are_refused(name, tmp_path) -> None:
    path = hostile_documents.REGION_FILES[name](tmp_path)
    with pytest.raises(BadInput) as caught:
        read_regions(path, hostile_documents.HEAD)
    text = str(caught.value)
    assert "\n" not in text and text.endswith((".", "?")) and str(tmp_path) not in text and len(text) < 500


def test_hostile_regions_through_the_command_line(tmp_path, capsys) -> None:
    write_volume(hostile_files.head_like(), tmp_path / "x.nii.gz")
    rois = hostile_documents.REGION_FILES["cut in its voxels"](tmp_path)
    assert main(["analyze", str(tmp_path / "x.nii.gz"), "--rois", str(rois), "-o", str(tmp_path / "out")]) == 2
    assert is_one_sentence(capsys.readouterr().err, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".html", ".pdf"])
@pytest.mark.parametrize("name", hostile_documents.RESULTS)
def test_hostile_results_give_no_report(name, suffix, analyzed, tmp_path, capsys) -> None:
    folder = tmp_path / "result"
    shutil.copytree(analyzed[0], folder)
    values = json.loads((folder / "result.json").read_text("utf-8"))
    hostile_documents.RESULTS[name](values)
    (folder / "result.json").write_text(json.dumps(values))
    code = main(["report", str(folder / "result.json"), "-o", str(tmp_path / f"report{suffix}")])
    text = capsys.readouterr().err
    if code == 0:  # a page may have nothing to do with what was changed; then nothing of it may have gone in
        assert name in ("statistics empty", "pvs empty", "provenance empty", "key images no picture"), name
        return
    assert code == 2 and is_one_sentence(text, tmp_path)
    assert not (tmp_path / f"report{suffix}").exists()


def test_words_of_a_result_are_no_markup(analyzed, tmp_path) -> None:
    folder = tmp_path / "result"
    shutil.copytree(analyzed[0], folder)
    values = json.loads((folder / "result.json").read_text("utf-8"))
    evil = "<script>alert(1)</script><img src='file:///etc/hostname'>"
    values["warnings"], values["demonstration_text"], values["model"] = [evil], evil, evil
    values["provenance"]["bundle_name"] = evil
    (folder / "result.json").write_text(json.dumps(values))
    for suffix in (".html", ".pdf"):
        assert main(["report", str(folder / "result.json"), "-o", str(tmp_path / f"report{suffix}")]) == 0
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in text and "<img src='file" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize("name", hostile_documents.MANIFESTS)
def test_hostile_manifests_are_refused(name, tmp_path) -> None:
    manifest = pytest.importorskip("cnsifusion.training.manifest", reason="needs the extra 'train'")
    path = tmp_path / "manifest.csv"
    if name.startswith("a folder"):
        path.mkdir()
    else:
        path.write_bytes(hostile_documents.MANIFESTS[name])
    (tmp_path / "x.mha").write_text(hostile_files.mha(NDims="1000"))
    with pytest.raises(BadInput) as caught:
        manifest.read_manifest(path, folds=0)
    assert str(tmp_path) not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", hostile_documents.SETTINGS)
def test_hostile_settings_are_refused(name, tmp_path, capsys) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(hostile_documents.SETTINGS[name])
    image = hostile_documents.HEAD
    write_volume(image, tmp_path / "x.nii.gz")
    rois = hostile_documents.good_seg(tmp_path)
    words = ["features", str(tmp_path / "x.nii.gz"), str(rois), "-o", str(tmp_path / "f.csv"), "--settings", str(path)]
    assert main(words) == 2
    assert is_one_sentence(capsys.readouterr().err, tmp_path)
    pytest.importorskip("torch", reason="training settings need the extra 'train'")
    words = ["train", "none.csv", "--region", "sublentiform", "--model", "radiomics-logistic"]
    assert main([*words, "-o", str(tmp_path / "b"), "--settings", str(path)]) == 2
    text = capsys.readouterr().err
    assert is_one_sentence(text, tmp_path) and "settings" in text


def test_a_sidecar_of_nonsense_is_passed_over(tmp_path) -> None:
    from cnsifusion.imaging import read_image

    write_volume(hostile_documents.HEAD, tmp_path / "x.nii.gz")
    for text in ("[" * 20_000, '{"RepetitionTime": 1e400, "EchoTime": NaN}', '{"EchoTime": 1' + "0" * 400 + "}", "[]"):
        (tmp_path / "x.json").write_text(text)
        acquisition = read_image(tmp_path / "x.nii.gz").acquisition
        assert acquisition.echo_time is None and acquisition.repetition_time is None
