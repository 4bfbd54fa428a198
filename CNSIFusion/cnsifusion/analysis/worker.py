"""The warm worker: one JSON request per line on stdin, the command line's JSON lines on stdout, until end of input.

Requests: {"id", "command": "analyze", "image", "out", "rois"?, "bundle"?}, {"id", "command": "propose" | "check",
"image", "out"?}, {"id", "command": "batch", "image": folder of images or list of series, "out", "bundle"?} and what the
caller adds ("dicom"). Every answer carries the request's id and ends with exactly one "done" or "error" event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnsifusion.analysis.analyze import Analyzer
from cnsifusion.analysis.batch import Outcome, analyze_patients, find_patients, read_list
from cnsifusion.analysis.result import PatientResult
from cnsifusion.errors import BadInput, error_event, log_unexpected

#: The longest request line read; paths are far shorter.
MAX_LINE = 1 << 20
#: Values of a request that are paths.
_PATHS = ("image", "out", "rois", "bundle", "result")
Emit = Callable[[dict], None]
#: A command: the request, where its progress goes, the analyzer; returns its last event.
Command = Callable[[dict, Emit, Analyzer], dict]


def serve(
    lines: Iterable[str], emit: Emit, analyzer: Analyzer, more: Mapping[str, Command] = MappingProxyType({})
) -> None:
    """Answer every request of ``lines`` through ``emit``; an error answers its request and the next one is served.

    ``more`` are commands of rooms that must not be known here (reporting).
    """
    for line in lines:
        if line.strip():
            answer(line, emit, analyzer, more)
            analyzer.get_ahead()


def answer(line: str, emit: Emit, analyzer: Analyzer, more: Mapping[str, Command] = MappingProxyType({})) -> None:
    """Answer one request line."""
    request: dict[str, Any] = {}
    commands = {**_COMMANDS, **more}

    def tagged(event: dict) -> None:
        emit({"id": request.get("id"), **event})

    try:
        request.update(_parse(line))
        _check_request(request, commands)
        tagged(commands[request["command"]](request, tagged, analyzer))
    except Exception as error:  # noqa: BLE001  whatever it is: the face waits for one end, and for the next answer
        log_unexpected(error, "a request")
        tagged(error_event(error))


def done_event(result: PatientResult, out: str | Path) -> dict:
    """The last event of an analysis."""
    return {
        "event": "done", "result": str(Path(out) / "result.json"), "probability": result.patient.probability,
        "demonstration": result.demonstration,
    }  # fmt: skip


def _parse(line: str) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise BadInput("The request is too long.")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput("The request is not a line of JSON.") from error
    if not isinstance(request, dict) or not (isinstance(request.get("id", 0), int) or _is_text(request["id"])):
        raise BadInput("The request is not a JSON object with a plain id.")
    return {key: request.get(key) for key in ("id", "command", *_PATHS, "confirm")}


def _check_request(request: dict[str, Any], commands: Mapping[str, Command]) -> None:
    if not isinstance(request["command"], str) or request["command"] not in commands:
        raise BadInput(f"The request's command must be one of {', '.join(commands)}.")
    for key in _PATHS:
        value = request[key]
        if value is not None and (not _is_text(value) or "\0" in value or not value):
            raise BadInput(f"The request's '{key}' must be a path.")
    if not request["image"] or (request["command"] != "check" and not request["out"]):
        raise BadInput("The request needs an image and, but for check, an output path.")


def _is_text(value: object) -> bool:
    """Whether ``value`` is a text that can be printed and used as a path: JSON may hold halves of characters."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _analyze(request: dict, emit: Emit, analyzer: Analyzer) -> dict:
    result = analyzer.analyze(request["image"], request["out"], request["rois"], request["bundle"], emit)
    return done_event(result, request["out"])


def _propose(request: dict, emit: Emit, analyzer: Analyzer) -> dict:
    check, _ = analyzer.propose(request["image"], request["out"], emit)
    return {"event": "done", "rois": request["out"], "check": check.to_dict()}


def _check(request: dict, emit: Emit, analyzer: Analyzer) -> dict:
    return {"event": "done", "check": analyzer.check(request["image"]).to_dict()}


def _batch(request: dict, emit: Emit, analyzer: Analyzer) -> dict:
    out, source = Path(request["out"]), Path(request["image"])
    patients = read_list(source) if source.is_file() else find_patients(source, out)
    bundle = Path(request["bundle"]) if request["bundle"] else None
    return batch_event(analyze_patients(analyzer, patients, out, bundle, resume=True, emit=emit))


def batch_event(outcome: Outcome) -> dict:
    """The last event of a batch."""
    return {
        "event": "done", "table": str(outcome.table), "patients": len(outcome.rows), "failed": outcome.failed,
    }  # fmt: skip


_COMMANDS: dict[str, Command] = {"analyze": _analyze, "propose": _propose, "check": _check, "batch": _batch}
