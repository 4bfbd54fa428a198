"""Letters that a file system, a terminal or a stranger's file holds and this program's libraries do not bear."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_dicom import write_series

from cnsifusion.bundles import default_bundle_dir
from cnsifusion.cli import main
from cnsifusion.imaging import read_image

CLI = [sys.executable, "-c", "import sys; from cnsifusion.cli import main; sys.exit(main(sys.argv[1:]))"]


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess:
    variables = {**os.environ, **environment}
    return subprocess.run([*CLI, *words], capture_output=True, check=False, env=variables, timeout=300)


@pytest.fixture
def archive(tmp_path) -> Path:
    """A folder with the Latin-1 name of an old archive."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_path_that_is_not_utf8_is_refused_in_a_sentence(archive, simulated_image, tmp_path) -> None:
    """ITK ended the whole program, and with it the other patients of a night."""
    shutil.copy(simulated_image, archive / "T2w.nii.gz")
    write_series(read_image(simulated_image), archive / "series")
    for words in (
        ["check", archive / "T2w.nii.gz"],
        ["check", archive / "series"],
        ["analyze", simulated_image, "-o", archive / "out"],
        ["analyze", simulated_image, "--rois", archive / "T2w.nii.gz", "-o", tmp_path / "out"],
        ["propose", simulated_image, "-o", archive / "rois.seg.nrrd"],
    ):
        done = run(*words)
        assert done.returncode == 2 and b"not UTF-8" in done.stderr, words
    done = run("cohort", "analyze", tmp_path, "-o", tmp_path / "many")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "many" / "cohort.csv").open(encoding="utf-8") as stream:
        rows = {row["patient_id"]: row["problem"] for row in csv.DictReader(stream)}
    assert set(rows) == {"M\N{REPLACEMENT CHARACTER}ller/T2w.nii.gz", "M\N{REPLACEMENT CHARACTER}ller/series"}
    assert "not UTF-8" in rows["M\N{REPLACEMENT CHARACTER}ller/T2w.nii.gz"]


def test_a_strangers_bundle_does_not_steer_the_terminal(tmp_path) -> None:
    folder = shutil.copytree(default_bundle_dir(), tmp_path / "bundle")
    content = json.loads((folder / "bundle.json").read_text("utf-8"))
    content["name"] = "\x1b[2J\x9b31mapproved"
    (folder / "bundle.json").write_text(json.dumps(content), "utf-8")
    done = run("bundle", "card", folder, PYTHONUTF8="1")
    text = done.stdout.decode("utf-8")
    assert done.returncode == 0 and "[2J" in text
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text.replace("\n", "").replace("\r", ""))


def test_a_pipe_without_the_letters_of_a_path_ends_no_command(simulated_image, tmp_path) -> None:
    out = tmp_path / "Żółć" / "rois.seg.nrrd"
    done = run("propose", simulated_image, "-o", out, "--progress", "jsonl", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"event": "done", "rois": str(out)}
    done = run("report", "no.json", "-o", out.with_name("report.html"), PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    done = run("bundle", "card", default_bundle_dir(), PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and b"DEMONSTRATION" in done.stdout


LONG = (
    ["analyze", "T2w", "-o", "LONG"], ["analyze", "T2w", "--bundle", "LONG", "-o", "out"], ["check", "LONG"],
    ["cohort", "analyze", "LONG", "-o", "out"], ["simulate", "LONG", "--patients", "1", "--controls", "0", "--seed=1"],
)  # fmt: skip


@pytest.mark.parametrize("words", LONG, ids=" ".join)
def test_a_name_longer_than_file_systems_have_is_no_fault_of_the_program(words, simulated_image, tmp_path, capsys):
    places = {"T2w": str(simulated_image), "LONG": str(tmp_path / ("x" * 300)), "out": str(tmp_path / "out")}
    assert main([places.get(word, word) for word in words]) == 2
    assert "unexpectedly" not in capsys.readouterr().err and not list(tmp_path.iterdir())
