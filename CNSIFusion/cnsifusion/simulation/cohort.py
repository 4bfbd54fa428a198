"""A simulated cohort on disk: images, true regions, manifest and latents; deterministic and resumable."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from pathlib import Path
from typing import Any

import numpy as np

from cnsifusion import __version__
from cnsifusion.errors import BadInput
from cnsifusion.imaging.write import check_output, write_table, write_text, write_volume
from cnsifusion.processes import end_with
from cnsifusion.roi.placement import write_placement
from cnsifusion.roi.region_io import write_regions
from cnsifusion.simulation.head import load_head
from cnsifusion.simulation.oracle import oracle_auc
from cnsifusion.simulation.patient import simulate_patient
from cnsifusion.simulation.settings import SimulationSettings
from cnsifusion.source import source_hash

#: How much of a head is imaged.
VIEWS = ("head", "deep")
_STEP = "Simulate patients"

#: Patients of one class a cohort seed has room for; keeps the seeds of different cohorts apart.
_ROOM = 1_000_000


@dataclass(frozen=True)
class Member:
    """One patient of a cohort: ``patient_id`` says nothing of the class."""

    patient_id: str
    seed: int
    infected: bool


def patient_seed(cohort_seed: int, infected: bool, index: int) -> int:
    """Seed of a cohort's patient; different for every (cohort seed, class, index)."""
    return (cohort_seed * _ROOM + index) * 2 + int(infected)


def members(patients: int, controls: int, seed: int) -> list[Member]:
    """The cohort's members, ordered by their identifier, which mixes the classes."""
    seeds = [(patient_seed(seed, infected, n), infected) for infected, m in ((True, patients), (False, controls))
             for n in range(m)]  # fmt: skip
    named = [Member("sim-" + blake2s(str(s).encode(), digest_size=5).hexdigest(), s, infected) for s, infected in seeds]
    return sorted(named, key=lambda m: m.patient_id)


def simulate_cohort(
    out_dir: str | Path,
    patients: int,
    controls: int,
    seed: int,
    settings: SimulationSettings | None = None,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
    view: str = "head",
) -> Path:
    """Simulate ``patients`` infected and ``controls`` uninfected people into ``out_dir``; returns the manifest's path.

    Writes ``images/*.nii.gz`` (uint16), ``rois/*.seg.nrrd`` (true regions), ``latents/*.json``, ``latents.csv``,
    ``simulation.json`` (settings, seed, version, source, oracle AUC) and, last, ``manifest.csv``; each file atomically.
    With ``view`` "deep" (see simulate_patient) also ``placements/*.npz``, which the manifest names. A patient depends
    on ``seed``, class, index, settings and this program's source alone, so a cohort can be interrupted, resumed and
    enlarged, and ``jobs`` processes give the same bytes as one. Raises BadInput for impossible numbers and for a folder
    that holds another cohort, simulated (by another source too) or real.
    """
    settings, out = settings or SimulationSettings(), Path(out_dir)
    if min(patients, controls) < 0 or not patients + controls or max(patients, controls) > _ROOM or seed < 0:
        raise BadInput("The numbers of patients and controls must be 0 or more, not both 0, and the seed 0 or more.")
    if view not in VIEWS:
        raise BadInput(f"Unknown view {view}; use {' or '.join(VIEWS)}.")
    about = {"seed": seed, "settings": settings.to_dict(), "version": __version__, "view": view,
             "source": simulation_source()}  # fmt: skip
    about = json.loads(json.dumps(about))  # as it will be read back
    _claim(out, about)
    people = members(patients, controls, seed)
    todo = [m for m in people if not _done(out, m)]
    done = len(people) - len(todo)
    progress(done, len(people), _STEP)
    for _ in _run(out, todo, settings, view, jobs):
        done += 1
        progress(done, len(people), _STEP)
    rows = [json.loads(_latents_path(out, m).read_text("utf-8")) for m in people]
    write_table(rows, out / "latents.csv")
    about.update(patients=patients, controls=controls, oracle_auc=_oracle(rows, settings))
    write_text(json.dumps(about, indent=1), out / "simulation.json")
    write_table([_manifest_row(r, settings, view) for r in rows], out / "manifest.csv")
    return out / "manifest.csv"


def _claim(out: Path, about: dict[str, Any]) -> None:
    path = out / "simulation.json"
    if path.exists():
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput("The folder's simulation.json cannot be read; choose an empty folder.") from error
        other = [name for name in about if found.get(name) != about[name]]
        if other == ["source"]:
            raise BadInput(
                "The folder holds a cohort that another state of this program began: its patients would not be like "
                "new ones. Choose an empty folder."
            )
        if other:
            raise BadInput("The folder holds a cohort of another seed, settings or version; choose an empty folder.")
    elif (out / "manifest.csv").exists():
        raise BadInput("The folder holds a manifest that was not simulated; choose an empty folder.")
    else:
        check_output(out)
        write_text(json.dumps(about, indent=1), path)


@lru_cache(maxsize=1)
def simulation_source() -> str:
    """Hash of all in this program that a simulated patient depends on (see training.cases.preparation_source)."""
    return source_hash("imaging", "resources/template", "roi", "simulation")


def _image_path(out: Path, member: Member) -> Path:
    return out / "images" / f"{member.patient_id}.nii.gz"


def _rois_path(out: Path, member: Member) -> Path:
    return out / "rois" / f"{member.patient_id}.seg.nrrd"


def _latents_path(out: Path, member: Member) -> Path:
    return out / "latents" / f"{member.patient_id}.json"


def _done(out: Path, member: Member) -> bool:
    return all(f(out, member).exists() for f in (_image_path, _rois_path, _latents_path))


def _run(out: Path, todo: Sequence[Member], settings: SimulationSettings, view: str, jobs: int) -> Iterator[Member]:
    """Simulate in this process or in ``jobs`` others, yielding each patient when it is finished."""
    if jobs <= 1 or len(todo) < 2:
        for member in todo:
            yield _simulate(out, member, settings, view)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that holds threads may deadlock
    with ProcessPoolExecutor(min(jobs, len(todo)), context, _begin, (os.getpid(),)) as pool:
        futures = [pool.submit(_simulate, out, member, settings, view) for member in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    end_with(parent)
    load_head()


def _simulate(out: Path, member: Member, settings: SimulationSettings, view: str) -> Member:
    patient = simulate_patient(member.seed, member.infected, settings, view)
    if view == "deep":
        write_placement(patient.placement, out / "placements" / f"{member.patient_id}.npz")
    write_volume(patient.volume.with_array(patient.volume.array.astype(np.uint16)), _image_path(out, member))
    write_regions(patient.truth, _rois_path(out, member))
    latents = {"patient_id": member.patient_id, **patient.latents}
    write_text(json.dumps(latents), _latents_path(out, member))  # last: its presence says the others are whole
    return member


def _manifest_row(latents: dict[str, Any], settings: SimulationSettings, view: str) -> dict[str, Any]:
    name = latents["patient_id"]
    row = {
        "patient_id": name, "image": f"images/{name}.nii.gz", "rois": f"rois/{name}.seg.nrrd",
        "label": int(latents["infected"]), "site": settings.sites[latents["site"]].name, "age": latents["age"],
        "sex": latents["sex"], "reader": "", "mask_origin": "truth", "edited": "no", "mri_date": "", "lp_date": "",
    }  # fmt: skip
    return row if view == "head" else {**row, "placement": f"placements/{name}.npz"}


def _oracle(rows: list[dict[str, Any]], settings: SimulationSettings) -> float | None:
    both = len({bool(r["infected"]) for r in rows}) == 2
    return round(oracle_auc(rows, settings), 4) if both else None
