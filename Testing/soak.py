"""Bounded soak: hostile inputs, storage, faults, browser sessions, fuzzing. `make soak` runs it and prints one table.

    python Testing/soak.py [SECTION ...] [--quick] [--minutes M] [--seed N] [--fresh] [--report]

Without SECTION all are run, one after the other. A section stops at its full count or after M minutes (default 30) and
goes on from there when it is asked for again: what was tried so far stands in soak-output/figures.json (--fresh forgets
it). --report runs nothing and prints the figures so far, those of the last record (Testing/soaks/record.json, a copy of
figures.json) where none were made here. --quick tries everything a few times and keeps nothing.
Exit code 1 when anything failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "soak-output"
RECORD = ROOT / "Testing" / "soaks" / "record.json"
#: Voxels of the small image, in mm.
_SMALL = (1.0, 1.0, 6.0)
#: Section -> module:function below Testing. A function takes a Soak and works on its rows until ``more`` says no.
SECTIONS = {
    "hostile": "soaks.suites:hostile",
    "storage": "soaks.storage:storage",
    "drift": "soaks.storage:drift",
    "analyze": "soaks.kills:analyses",
    "worker": "soaks.kills:workers",
    "cohort": "soaks.kills:cohorts",
    "train": "soaks.kills:trainings",
    "server": "soaks.browsers:killed_servers",
    "sessions": "soaks.browsers:sessions",
    "privacy": "soaks.suites:privacy",
    "tools": "soaks.suites:readers",
    "fuzz": "soaks.fuzzing:fuzz",
}


@dataclass
class Row:
    """One line of the table. ``wanted``: how often it is to be tried in all, ``tried``: how often it was so far."""

    section: str
    what: str
    wanted: int
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    note: str = ""
    ended: str = ""


class Soak:
    """What a section works with: a simulated image, a folder of its own, chance, and rows to count in.

    ``small`` is the same head in thick slices and large pixels: analyzed in less than half the time.
    """

    def __init__(self, section: str, image: Path, folder: Path, options: argparse.Namespace, rows: dict[str, Row]):
        self.section, self.image, self.folder, self.quick = section, image, folder, options.quick
        self._rows, self._until = rows, time.monotonic() + 60 * options.minutes
        so_far = sum(r.tried for r in rows.values() if r.section == section)
        self.rng = random.Random(f"{options.seed} {section} {so_far}")  # going on means other moments
        folder.mkdir(parents=True, exist_ok=True)
        self.small = image.with_name("small.nii.gz")

    def row(self, what: str, wanted: int, quick: int = 2) -> Row:
        """The row ``what``, with what former runs counted; ``quick``: how often it is tried by --quick."""
        row = self._rows.setdefault(f"{self.section}: {what}", Row(self.section, what, wanted))
        row.wanted = quick if self.quick else wanted
        return row

    def more(self, row: Row) -> bool:
        """Whether to try once more: the full count is not reached and there is time."""
        self.keep()
        return row.tried < row.wanted and time.monotonic() < self._until

    def keep(self) -> None:
        """Write down what was counted."""
        if self.quick:
            return
        OUTPUT.mkdir(exist_ok=True)
        for row in self._rows.values():
            if row.section == self.section:
                row.ended = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")
        temporary = OUTPUT / f"figures-{os.getpid()}.json"
        temporary.write_text(json.dumps([asdict(r) for r in self._rows.values()], indent=1), "utf-8")
        temporary.replace(OUTPUT / "figures.json")


def main(words: list[str]) -> int:
    """Run the chosen sections and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args(words)
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown section {', '.join(sorted(unknown))}; choose from {', '.join(SECTIONS)}")
    source = OUTPUT / "figures.json"
    if options.report and not source.exists():
        source = RECORD
    rows = {} if options.quick else dict(_former(source, set(options.sections or SECTIONS) if options.fresh else set()))
    if not options.report:
        _run(options, rows)
    for line in table(list(rows.values())):
        print(line)
    return int(any(row.failures for row in rows.values()))


def _run(options: argparse.Namespace, rows: dict[str, Row]) -> None:
    with tempfile.TemporaryDirectory(prefix="cnsifusion-soak-") as folder:
        image = simulated(Path(folder) / "T2w.nii.gz")
        for section in options.sections or SECTIONS:
            begin = time.monotonic()
            module, _, function = SECTIONS[section].partition(":")
            soak = Soak(section, image, Path(folder) / section, options, rows)
            getattr(importlib.import_module(module), function)(soak)
            soak.keep()
            print(f"[soak] {section}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


def _former(path: Path, forgotten: set[str]) -> Iterator[tuple[str, Row]]:
    """Rows of earlier runs, by name, but those of the sections to forget."""
    for values in json.loads(path.read_text("utf-8")) if path.exists() else []:
        if values["section"] in SECTIONS and values["section"] not in forgotten:
            yield f"{values['section']}: {values['what']}", Row(**values)


def table(rows: list[Row]) -> Iterator[str]:
    """The lines of the table, then every failure."""
    yield f"{'section':<10}{'what':<58}{'tried':>9}{'of':>9}{'failed':>8}  note"
    for row in sorted(rows, key=lambda r: list(SECTIONS).index(r.section)):
        yield f"{row.section:<10}{row.what:<58}{row.tried:>9}{row.wanted:>9}{len(row.failures):>8}  {row.note}"
    yield f"{'all':<10}{'':<58}{sum(r.tried for r in rows):>9}{'':>9}{sum(len(r.failures) for r in rows):>8}"
    for row in rows:
        for text in row.failures[:10]:
            yield f"FAILED {row.section}, {row.what}: {text}"


def simulated(path: Path) -> Path:
    """A simulated, infected patient's image; the small one is written beside it."""
    import SimpleITK as sitk

    from cnsifusion.imaging import write_volume
    from cnsifusion.simulation import SimulationSettings, simulate_patient

    write_volume(simulate_patient(7, True, SimulationSettings()).volume, path)
    head = sitk.ReadImage(str(path))
    size = [round(n * s / new) for n, s, new in zip(head.GetSize(), head.GetSpacing(), _SMALL, strict=True)]
    small = sitk.Resample(head, size, sitk.Transform(), sitk.sitkLinear, head.GetOrigin(), _SMALL, head.GetDirection())
    sitk.WriteImage(sitk.Cast(sitk.Round(small), sitk.sitkInt16), str(path.with_name("small.nii.gz")))
    return path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
