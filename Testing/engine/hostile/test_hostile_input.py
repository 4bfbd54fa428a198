"""Hostile images through the command line: one sentence, exit code 2, no traceback, nothing written, bounded memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import hostile_dicom
import hostile_files
import numpy as np
import pytest

from cnsifusion.cli import main
from cnsifusion.errors import BadInput
from cnsifusion.imaging import read_image
from cnsifusion.imaging.folders import files_below

CLI = [sys.executable, "-c", "import sys; from cnsifusion.cli import main; sys.exit(main(sys.argv[1:]))"]
BAD = {**hostile_files.FILES, **{f"dicom {n}": b for n, b in hostile_dicom.FOLDERS.items()}}
BOMBS = [name for name in BAD if "bomb" in name]


def is_one_sentence(text: str, folder: Path) -> bool:
    """One line that starts with the program's name, ends like a sentence and names no path."""
    lines = text.strip().splitlines()
    whole = len(lines) == 1 and lines[0].startswith("cnsifusion: ") and lines[0].endswith((".", "?"))
    return whole and str(folder) not in text


@pytest.mark.parametrize("name", [n for n in BAD if n not in BOMBS])
def test_hostile_images_are_refused(name, tmp_path, capsys) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    path = BAD[name](folder)
    capsys.readouterr()
    assert main(["analyze", str(path), "-o", str(out)]) == 2
    assert is_one_sentence(capsys.readouterr().err, tmp_path)
    assert not out.exists()


def peak_megabytes(*words: str | Path) -> tuple[subprocess.CompletedProcess, float]:
    """Run the command line and measure the largest resident memory of that process (MB)."""
    code = (
        "import sys, re; from cnsifusion.cli import main; code = main(sys.argv[1:]);"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) >> 10); sys.exit(code)"
    )
    run = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    return done, float(done.stdout.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's (ru_maxrss would count the parent before exec)")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_bounded_memory(name, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    path = BAD[name](tmp_path / "in")
    done, peak = peak_megabytes("analyze", path, "-o", tmp_path / "out")
    assert done.returncode == 2 and is_one_sentence(done.stderr, tmp_path)
    assert not (tmp_path / "out").exists()
    # All a header may claim: float32 voxels, their reordered copy, and the interpreter with its libraries.
    assert peak < (2600 if "all it may" in name else 700)


@pytest.mark.parametrize("name", hostile_files.ACCEPTED)
def test_odd_files_read_like_the_plain_one(name, tmp_path) -> None:
    again = read_image(hostile_files.ACCEPTED[name](tmp_path))
    assert np.array_equal(again.array, hostile_files.head_like().array)


@pytest.mark.parametrize("name", [*hostile_dicom.COMPRESSED, *hostile_dicom.ODD_BUT_GOOD])
def test_compressed_and_odd_series_read_like_the_plain_one(name, tmp_path) -> None:
    build = {**hostile_dicom.COMPRESSED, **hostile_dicom.ODD_BUT_GOOD}[name]
    again = read_image(build(tmp_path))
    assert np.array_equal(again.array, hostile_dicom.expected())
    assert again.grid == hostile_dicom.SMALL.grid


def test_500_slices_are_read_and_answered(tmp_path, capsys) -> None:
    path = hostile_files.sized((150, 160, 500), (1.0, 1.0, 0.4))(tmp_path)
    code = main(["check", str(path)])
    text = capsys.readouterr()
    assert code == 2 and is_one_sentence(text.err, tmp_path) and "verdict: refuse" in text.out


@pytest.mark.parametrize("place", ["below a file", "a long name"])
def test_impossible_output_folders(place, tmp_path, capsys, simulated_image) -> None:
    (tmp_path / "file").write_text("x")
    out = {"below a file": "file/out", "a long name": "x" * 300}[place]
    assert main(["propose", str(simulated_image), "-o", str(tmp_path / out / "r.seg.nrrd")]) == 2
    assert is_one_sentence(capsys.readouterr().err, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk_has_its_sentence_and_leaves_nothing(simulated_image, tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", disk], check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        run = [*CLI, "analyze", str(simulated_image), "-o", str(disk / "out")]
        done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 2 and is_one_sentence(done.stderr, tmp_path) and "disk" in done.stderr
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS holds on Linux alone")
def test_too_little_memory_has_its_own_sentence(tmp_path) -> None:
    path = hostile_files.gzip_bomb((600, 640, 380), 300)(tmp_path)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1700 << 20, 1700 << 20))

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    run = [*CLI, "analyze", str(path), "-o", str(tmp_path / "out")]
    done = subprocess.run(
        run, capture_output=True, text=True, check=False, timeout=300, preexec_fn=limit, env=environment
    )
    assert done.returncode == 4 and "memory" in done.stderr and is_one_sentence(done.stderr, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/1/cwd: a link that most may not follow")
def test_what_may_not_be_read_below_a_folder_is_passed_over(tmp_path) -> None:
    """As lost+found on a drive, or another user's folder."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "closed").symlink_to("/proc/1/cwd")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert files_below(tmp_path) == [tmp_path / "a" / "x"]
    with pytest.raises(BadInput, match="no readable DICOM image"):
        read_image(tmp_path)
