"""The tests' own suites, counted: hostile inputs and bundles, and the search for identifiers."""

from __future__ import annotations

import re
import subprocess
import sys

from soak import ROOT, Soak

_HOSTILE = ("hostile/test_hostile_input.py", "hostile/test_hostile_documents.py", "bundles/test_strangers.py")
_LOCKS = ("../slicerlibs/test_locks.py", "../slicerlibs/test_uploads.py")


def hostile(soak: Soak) -> None:
    """Every hostile image, DICOM folder, region file, document and bundle of the tests."""
    _counted(soak, "hostile inputs refused or read right (tests)", _HOSTILE)
    _counted(soak, "foreign requests to the browser server (tests)", _LOCKS)


def privacy(soak: Soak) -> None:
    """Runs on a series full of identifiers, without a network."""
    _counted(soak, "runs without network or identifiers (tests)", ("hostile/test_privacy.py",))


def _counted(soak: Soak, what: str, names: tuple[str, ...]) -> None:
    tests = [str(ROOT / "Testing" / "engine" / name) for name in names]
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *tests]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines() or [done.stderr[-300:]]
    counts = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (\w+)", lines[-1])}
    row = soak.row(what, 0)
    row.failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    row.tried = row.wanted = counts.get("passed", 0) + len(row.failures)
    row.note = lines[-1].strip("= ")
    if done.returncode and not row.failures:
        row.failures.append(lines[-1])


def readers(soak: Soak) -> None:
    """Random readers with every tool and action, undo and redo, on both undo machineries (see toolwalk.py)."""
    import toolwalk

    for name in toolwalk.MACHINERIES:
        row, start = soak.row(f"random readers, {name} undo", 150, 10), soak.rng.randrange(2**32)
        while soak.more(row):
            few = min(10, row.wanted - row.tried)
            try:
                tally = toolwalk.walks(name, few, start + row.tried)
            except ImportError as error:
                row.note = f"SKIPPED: the extra 'web' is not installed ({error.name})"
                break
            except AssertionError as error:
                row.failures.append(f"seed {start + row.tried}: {error}")
            else:
                so_far = int(row.note.split()[0]) if row.note[:1].isdigit() else 0
                row.note = f"{so_far + tally.actions} actions"
            row.tried += few
