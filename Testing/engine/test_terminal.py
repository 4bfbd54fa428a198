"""What a command says: JSON lines alone for a program, and sentences never on the progress bar's line for a person."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cnsifusion.cli import main
from cnsifusion.errors import BadInput
from cnsifusion.terminal import Output

SIMULATE = ["simulate", "--patients", "1", "--controls", "1", "--seed", "1", "--view", "deep"]
CLI = [sys.executable, "-c", "import sys; from cnsifusion.cli import main; sys.exit(main(sys.argv[1:]))"]
STEP = {"event": "progress", "fraction": 0.5, "name": "Read the image"}


def test_a_program_reads_json_lines_alone(tmp_path) -> None:
    done = subprocess.run([*CLI, *SIMULATE, str(tmp_path), "--progress", "jsonl"], capture_output=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "progress" and done.stderr == b""
    assert events[-1] == {"event": "done", "manifest": str(tmp_path / "manifest.csv")}


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
def test_a_terminals_sentences_stand_on_lines_of_their_own(tmp_path) -> None:
    import pty

    screen, terminal = pty.openpty()
    run = subprocess.Popen([*CLI, *SIMULATE, str(tmp_path)], stdout=terminal, stderr=terminal)
    os.close(terminal)
    text = b""
    while chunk := _read(screen):
        text += chunk
    assert run.wait(60) == 0
    lines = text.decode().replace("\r\n", "\n").split("\n")
    assert f"Manifest: {tmp_path / 'manifest.csv'}" in lines
    assert any(line.startswith("\r[") and "Simulate patients" in line for line in lines)


WRONG = [
    ([], "COMMAND"),
    (["anlyze", "T2.nii"], "invalid choice"),
    (["analyze", "T2.nii"], "-o/--output"),
    (["check", "T2.nii"], "--progress"),  # it has no progress
    ([*SIMULATE[:-4], "--seed", "one", "OUT"], "--seed"),
    (["train", "M.csv", "--region", "ventricles", "--model", "x", "-o", "OUT", "--assign", "CSF"], "LABEL=NAME"),
]


@pytest.mark.parametrize(("words", "named"), WRONG)
def test_wrong_words_are_an_error_event_for_a_program(words, named, capsys) -> None:
    assert main([*words, "--progress", "jsonl"]) == 2
    out, err = capsys.readouterr()
    (event,) = [json.loads(line) for line in out.splitlines()]
    assert (event["event"], event["exit_code"]) == ("error", 2) and named in event["message"]
    assert err == f"cnsifusion: {event['message']}\n"


@pytest.mark.parametrize("words", [["analyze", "T2.nii"], ["analyze", "T2.nii", "-o", "OUT", "--progress", "json"]])
def test_wrong_words_are_a_sentence_alone_for_a_person(words, capsys) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("cnsifusion: ") and err.endswith("see cnsifusion analyze --help.\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # Linux: the other side was closed
        return b""


def test_a_failure_leaves_the_bar_too(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    output = Output(jsonl=False)
    output(STEP)
    output.failed(BadInput("The image is a FLAIR."))
    bar, sentence, rest = capsys.readouterr().err.split("\n")
    assert bar.startswith("\r[") and sentence == "cnsifusion: The image is a FLAIR." and rest == ""
