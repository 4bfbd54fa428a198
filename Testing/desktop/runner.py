"""Runs the ``test_*`` functions of one script inside Slicer: ``Slicer --python-script runner.py NAME RESULTS``.

NAME is the script's without .py: Slicer would run a first argument that ends so in place of the runner.

RESULTS is a JSON object {test: {"outcome": "passed"|"failed"|"skipped", "text": ..., "seconds": ...}}, rewritten after
each test, so that a crash leaves what came before; it also holds "measures" that tests leave in ``desk.measures``.
"""

import importlib.util
import json
import os
import sys
import time
import traceback
from pathlib import Path

import slicer

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.append(str(Path(__file__).resolve().parents[1]))
import desk


def write(path: Path, results: dict) -> None:
    """Replace the results file in one step."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1), "utf-8")
    temporary.replace(path)


def runAll(script: Path, path: Path) -> int:
    """Run the tests in the order they are written; returns the number of failures."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [name for name in vars(module) if name.startswith("test_")]
    results, failures = {"tests": {}, "measures": desk.measures}, 0
    silent = []
    # What a slot or an observer raises is only printed by Qt and VTK; here it fails the test that caused it.
    sys.excepthook = lambda *error: silent.append("".join(traceback.format_exception(*error)))
    only = os.environ.get("CNSIFUSION_DESKTOP_ONLY", "")
    for name in tests:
        if only and only not in name:
            continue
        print(f"desktop test {name} ...", flush=True)
        start = time.monotonic()
        try:
            silent.clear()
            vars(module)[name]()
            outcome, text = ("failed", "".join(silent)) if silent else ("passed", "")
        except desk.Skip as reason:
            outcome, text = "skipped", str(reason)
        except Exception:  # noqa: BLE001  (whatever a test raises is its result)
            outcome, text = "failed", traceback.format_exc() + "".join(silent)
        if outcome == "failed":
            failures += 1
            desk.screenshot(path.with_name(f"{path.stem}_{name}.png"))
        results["tests"][name] = {"outcome": outcome, "text": text, "seconds": round(time.monotonic() - start, 2)}
        write(path, results)
        print(f"desktop test {name}: {outcome} {text}", flush=True)
    return failures


def main() -> None:
    """Run, write, and leave Slicer with 0 or 1."""
    script, path = Path(__file__).resolve().parent / f"{sys.argv[-2]}.py", Path(sys.argv[-1])
    try:
        failures = runAll(script, path)
    except BaseException:  # noqa: BLE001  (Slicer must end, whatever happened)
        traceback.print_exc()
        failures = 1
    slicer.util.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
