"""All patients of a manifest as arrays: instances, features, covariates, and the backbone's cached maps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cnsifusion.analysis.features import default_settings
from cnsifusion.errors import BadInput
from cnsifusion.imaging.write import atomic_path
from cnsifusion.radiomics import FeatureTable, RadiomicsSettings
from cnsifusion.radiomics.settings import ENGINE, ENGINE_VERSION
from cnsifusion.radiomics.table import ungroup_reasons
from cnsifusion.training.cases import CaseResult, CaseTask, build_case
from cnsifusion.training.manifest import UNKNOWN, Manifest, slice_spacing
from cnsifusion.training.settings import TrainingSettings, digest
from cnsifusion.training.tasks import Progress, no_progress, run_tasks


@dataclass(frozen=True, eq=False)
class Cohort:
    """P patients with N instances in all, ordered by patient.

    ``labels`` (P,), UNKNOWN where there is none, ``patient`` (N,) index of each instance's patient, ``features`` (N, F)
    with NaN where missing, ``altered`` (alterations, N, F) the same under mask jitter, slice shift and noise, ``names``
    of the F features, ``quantities`` (P, len(QUANTITIES)), ``age`` (P,) and ``male`` (P,) with NaN where unknown,
    ``site`` (P,).
    ``cases`` are the cached files, ``key`` names this very data.
    """

    patient_ids: np.ndarray
    labels: np.ndarray
    patient: np.ndarray
    keys: np.ndarray
    part: np.ndarray
    side: np.ndarray
    names: np.ndarray
    features: np.ndarray
    altered: np.ndarray
    quantities: np.ndarray
    age: np.ndarray
    male: np.ndarray
    site: np.ndarray
    cases: np.ndarray
    settings: str
    key: str

    @property
    def radiomics(self) -> RadiomicsSettings:
        """Settings the features were extracted with."""
        return RadiomicsSettings.from_dict(json.loads(self.settings))

    def patches(self) -> np.ndarray:
        """Patches (N, c, h, w) float32 of all instances, read from the cached cases."""
        parts = []
        for path in self.cases:
            with np.load(path, allow_pickle=False) as data:
                parts.append(data["patches"].astype(np.float32))
        return np.concatenate(parts)

    def with_labels(self, labels: np.ndarray) -> Cohort:
        """The same patients with other labels (permutation tests)."""
        return replace(self, labels=labels, key=digest(self.key, labels.tolist()))

    def of_patients(self, chosen: np.ndarray) -> Cohort:
        """The cohort of the patients at positions ``chosen`` (ascending)."""
        rows = np.flatnonzero(np.isin(self.patient, chosen))
        per_patient = ("patient_ids", "labels", "quantities", "age", "male", "site", "cases")
        values = {name: getattr(self, name)[chosen] for name in per_patient}
        values |= {name: getattr(self, name)[rows] for name in ("keys", "part", "side", "features")}
        patient = np.searchsorted(chosen, self.patient[rows])
        return replace(
            self, **values, patient=patient, altered=self.altered[:, rows], key=digest(self.key, chosen.tolist())
        )

    def save(self, path: Path) -> None:
        """Write atomically, as arrays without objects."""
        with atomic_path(path) as temporary:
            arrays = {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}
            np.savez(temporary, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Cohort:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as data:
            values = {name: data[name] for name in cls.__dataclass_fields__}
        values["settings"], values["key"] = str(values["settings"]), str(values["key"])
        return cls(**values)


def build_cohorts(
    manifest: Manifest,
    regions: Sequence[str],
    settings: TrainingSettings,
    cache: Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Progress = no_progress,
) -> list[Cohort]:
    """Prepare every patient, once for all ``regions`` (from the cache where it holds them); the cohort of each region.

    Raises BadInput with a table of all patients that cannot be used; the work on the others is kept in the cache.
    """
    radiomics = settings.radiomics or default_radiomics(manifest)
    tasks = [
        CaseTask(
            str(p.image.resolve()),
            str(p.rois.resolve()) if p.rois else None,
            tuple(regions),
            settings.submask,
            settings.preparation,
            settings.patches,
            radiomics,
            str(cache.resolve()),
            str(p.placement.resolve()) if p.placement else None,
            manifest.names,
        )
        for p in manifest.patients
    ]
    results = run_tasks(build_case, tasks, jobs=jobs, scheduler=scheduler, progress=progress, name="Prepare patients")
    lines = [p.line for p in manifest.patients]
    failed = [f"  line {line:<6} {problem}" for line, problem in zip(lines, _problems(lines, results)) if problem]
    if failed:
        head = "1 patient cannot be used" if len(failed) == 1 else f"{len(failed)} patients cannot be used"
        raise BadInput("\n".join([f"{head}; take them out or correct them:", *failed]))
    return [_join(manifest, list(paths), radiomics) for paths in zip(*(result.paths for result in results))]


def _problems(lines: list[int], results: list[CaseResult]) -> Iterator[str]:
    """Why each patient cannot be used, "" where it can. One image is one patient, whatever regions are drawn on it."""
    first: dict[str, int] = {}
    for line, result in zip(lines, results):
        copy = not result.problem and first.setdefault(result.image, line) != line
        yield f"the same image as in line {first[result.image]}" if copy else result.problem


def default_radiomics(manifest: Manifest) -> RadiomicsSettings:
    """The protocol's settings: LoG in plane where the cohort's slices are above 3 mm apart, else 3-D; never mixed."""
    spacings = [slice_spacing(p.image) for p in manifest.patients[:: max(1, len(manifest.patients) // 8)]]
    return default_settings(float(np.median(spacings)))


def _join(manifest: Manifest, paths: list[str], radiomics: RadiomicsSettings) -> Cohort:
    cases = [dict(np.load(path, allow_pickle=False)) for path in paths]
    counts = [len(c["keys"]) for c in cases]
    features = np.concatenate([c["features"] for c in cases], axis=1)
    patients = manifest.patients
    return Cohort(
        patient_ids=np.array([p.patient_id for p in patients]),
        labels=np.array(manifest.labels),
        patient=np.repeat(np.arange(len(cases)), counts),
        keys=np.concatenate([c["keys"] for c in cases]),
        part=np.concatenate([c["part"] for c in cases]),
        side=np.concatenate([c["side"] for c in cases]),
        names=cases[0]["names"],
        features=features[0],
        altered=features[1:],
        quantities=np.stack([c["quantities"] for c in cases]),
        age=np.array([np.nan if p.age is None else p.age for p in patients]),
        male=np.array([{"m": 1.0, "f": 0.0}.get(p.sex[:1].lower(), np.nan) for p in patients]),
        site=np.array([p.site for p in patients]),
        cases=np.array(paths),
        settings=json.dumps(radiomics.to_dict()),
        key=digest([Path(p).stem for p in paths], manifest.labels, [p.patient_id for p in patients]),
    )


def feature_table(cohort: Cohort) -> FeatureTable:
    """The cohort's features as a table with one row per instance; without a column of labels where nobody has one."""
    return FeatureTable.concat([_table_of(cohort, patient) for patient in range(len(cohort.labels))])


def _table_of(cohort: Cohort, patient: int) -> FeatureTable:
    rows = np.flatnonzero(cohort.patient == patient)
    with np.load(cohort.cases[patient], allow_pickle=False) as data:
        about = json.loads(str(data["about"]))
    ids = {
        "patient_id": [str(cohort.patient_ids[patient])] * len(rows),
        "label": [None if cohort.labels[patient] == UNKNOWN else int(cohort.labels[patient])] * len(rows),
        "instance": cohort.keys[rows].tolist(),
        "part": cohort.part[rows].tolist(),
        "side": cohort.side[rows].tolist(),
        "slice": [int(key.rsplit("|", 1)[1]) for key in cohort.keys[rows]],
    }
    if (cohort.labels == UNKNOWN).all():
        del ids["label"]
    settings = cohort.radiomics
    metadata = {
        "engine": ENGINE, "engine_version": ENGINE_VERSION, "settings": settings.to_dict(),
        "settings_hash": settings.hash, "warnings": about["warnings"],
    }  # fmt: skip
    reasons = ungroup_reasons(about["reasons"])
    return FeatureTable(ids, cohort.names.tolist(), cohort.features[rows], reasons, metadata)


def patient_mean(cohort: Cohort, values: np.ndarray) -> np.ndarray:
    """Mean over each patient's instances: (N, ...) to (P, ...)."""
    counts = np.bincount(cohort.patient, minlength=len(cohort.labels))
    total = np.zeros((len(cohort.labels), *values.shape[1:]))
    np.add.at(total, cohort.patient, values)
    return total / counts.reshape(-1, *[1] * (values.ndim - 1))


def instance_weights(cohort: Cohort) -> np.ndarray:
    """Weight of each instance (N,) such that every patient weighs 1 in all."""
    return 1.0 / np.bincount(cohort.patient)[cohort.patient]


