"""The whole experiment over one cohort: data, backbones, maps, folds. All is cached and resumes where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cnsifusion.errors import BadInput
from cnsifusion.imaging.read import content_sha256
from cnsifusion.models.backbones import (
    imagenet_backbone,
    load_backbone,
    pretraining_patients,
    random_backbone,
    save_backbone,
)
from cnsifusion.models.settings import ModelSettings, get_model
from cnsifusion.training.cohort import Cohort, build_cohorts
from cnsifusion.training.finetune import Weights
from cnsifusion.training.folds import patient_folds, permuted
from cnsifusion.training.learners import CONFOUNDERS, confounder_cohort
from cnsifusion.training.manifest import Manifest, known_by, read_manifest
from cnsifusion.training.maps import build_maps
from cnsifusion.training.metrics import Predictions
from cnsifusion.training.nested import FoldResult, FoldTask, join, load_fold, run_fold
from cnsifusion.training.settings import TrainingSettings
from cnsifusion.training.tasks import Progress, no_progress, run_tasks

#: So many lines are named in a sentence.
_LINES = 8
_UNKNOWN_PATIENTS = (
    "The backbone's file does not keep which patients it was pre-trained on (an older program wrote it): if one of "
    "them is evaluated here, the figures are too good."
)


@dataclass(frozen=True)
class BackboneSource:
    """Where a model's backbone comes from: ``origin`` imagenet | simulated | random, the weights' file and hash."""

    origin: str
    path: Path
    sha256: str


@dataclass
class Experiment:
    """One manifest and region, opened for work in ``work`` (a folder that holds all caches).

    ``backbones`` maps a torchvision name to the file of its weights: torchvision's ImageNet checkpoint, or a file made
    by ``pretrain``; a backbone without a file is random, which must be allowed explicitly.
    """

    manifest: Manifest
    region: str
    settings: TrainingSettings
    work: Path
    backbones: dict[str, Path] = field(default_factory=dict)
    allow_random_backbone: bool = False
    jobs: int = 1
    scheduler: str | None = None
    progress: Progress = no_progress
    _sources: dict[str, BackboneSource] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def open(
        cls,
        manifest: str | Path,
        region: str,
        settings: TrainingSettings,
        work: str | Path,
        folds: int | None = None,
        names: Mapping[str, str] | None = None,
        **options,
    ) -> Experiment:
        """Read and check the manifest for ``folds`` (default: the settings'; 0: none, then labels are not needed);
        raises BadInput with all its problems.
        """
        wanted = settings.folds if folds is None else folds
        labels = "needed" if wanted else "taken"
        checked = read_manifest(manifest, wanted, settings.inner_folds if wanted else 0, labels, names)
        if region not in ("ventricles", "sublentiform"):
            raise BadInput(f"Unknown region {region}; use ventricles or sublentiform.")
        return cls(checked, region, settings, Path(work), **options)

    def cohort(self) -> Cohort:
        """The cohort's arrays; also written to ``work``, where the tasks read them."""
        (cohort,) = self.cohorts([self.region])
        path = self.cohort_path(cohort)
        if not path.exists():
            cohort.save(path)
        return cohort

    def cohorts(self, regions: Sequence[str]) -> list[Cohort]:
        """The cohort's arrays of several regions, each patient prepared once for all of them."""
        return build_cohorts(
            self.manifest, regions, self.settings, self.work / "cases",
            jobs=self.jobs, scheduler=self.scheduler, progress=self.progress,
        )  # fmt: skip

    def cohort_path(self, cohort: Cohort) -> Path:
        """Where the tasks find the cohort."""
        return self.work.resolve() / f"cohort-{cohort.key}.npz"

    def backbone(self, model: ModelSettings) -> BackboneSource | None:
        """The backbone of ``model`` as a file in the project's own form (None for radiomics alone).

        Raises BadInput where there is no file and a random backbone was not allowed, and where a patient of the
        manifest is one of those it was pre-trained on.
        """
        if model.backbone is None:
            return None
        given = self.backbones.get(model.backbone)
        if given is None and not self.allow_random_backbone:
            raise BadInput(
                f"{model.name} needs weights for {model.backbone}: give a file with --backbone-weights (ImageNet, or "
                "made by pre-training), or allow a random one with --allow-random-backbone."
            )
        shape = f"{model.backbone}-{model.map_channels}-{model.stride}"
        if shape not in self._sources:
            met: frozenset[str] = frozenset()
            if given is None:
                origin, loaded = "random", random_backbone(model, self.settings.seed)
            else:
                origin, loaded = _open_backbone(model, given, content_sha256(given))
                if origin == "simulated":
                    met = pretraining_patients(given)
                    self._check_not_met(met)
            path = self.work.resolve() / f"backbone-{shape}-{origin}.pt"
            self._sources[shape] = BackboneSource(origin, path, save_backbone(loaded, path, met))
        return self._sources[shape]

    def _check_not_met(self, met: frozenset[str]) -> None:
        """A patient that a backbone was pre-trained on is not unseen in any fold."""
        again = [str(p.line) for p in self.manifest.patients if met and known_by(p) & met]
        if again:
            who = f"{len(again)} patients" if len(again) > 1 else "1 patient"
            lines = ", ".join(again[:_LINES]) + (", ..." if len(again) > _LINES else "")
            raise BadInput(
                f"The backbone was pre-trained on {who} of this manifest (line {lines}): no fold would be unseen. "
                "Pre-train on other patients (cnsifusion simulate with another seed)."
            )
        if not met and _UNKNOWN_PATIENTS not in self.manifest.warnings:
            self.manifest.warnings.append(_UNKNOWN_PATIENTS)

    def labels(self, cohort: Cohort, permutation: int | None) -> np.ndarray:
        """Labels (P,), shuffled between patients where ``permutation`` gives a seed."""
        return cohort.labels if permutation is None else permuted(cohort.labels, self.settings.seed + permutation)

    def run(
        self, cohort: Cohort, rows: list[str], outer: np.ndarray | None = None, permutation: int | None = None
    ) -> dict[str, list[FoldResult]]:
        """Nested cross-validation of ``rows`` (models and confounder rows): fold results by row.

        ``outer`` gives every patient's fold (default: stratified). Confounder rows whose covariates are unknown are
        left out.
        """
        labels = self.labels(cohort, permutation)
        folds = patient_folds(labels, self.settings.folds, self.settings.seed) if outer is None else outer
        tasks = []
        for row in rows:
            if row in CONFOUNDERS:
                if confounder_cohort(cohort, CONFOUNDERS[row]) is None:
                    continue
                model: ModelSettings | None = None
                maps: tuple[str, ...] = ()
                weights = None
            else:
                model = get_model(row)
                maps, weights = self._start(cohort, model)
            changed = None if permutation is None else tuple(int(v) for v in labels)
            tasks += [
                FoldTask(
                    row, model, int(fold), tuple(int(f) for f in folds), str(self.cohort_path(cohort)), cohort.key,
                    maps, weights, self.settings, changed, str(self.work.resolve() / "folds"),
                )
                for fold in np.unique(folds)
            ]  # fmt: skip
        results: dict[str, list[FoldResult]] = {task.row: [] for task in tasks}
        tasks.sort(key=_effort, reverse=True)  # the long ones first, so that no worker is left with one at the end
        paths = run_tasks(
            run_fold, tasks, jobs=self.jobs, scheduler=self.scheduler, progress=self.progress, name="Cross-validate"
        )
        for task, path in zip(tasks, paths):
            results[task.row].append(load_fold(path))
        return results

    def predictions(self, cohort: Cohort, row: str, permutation: int | None = None) -> Predictions:
        """Out-of-fold predictions of one row (see ``run``)."""
        return join(cohort, self.run(cohort, [row], permutation=permutation)[row], self.labels(cohort, permutation))

    def _start(self, cohort: Cohort, model: ModelSettings) -> tuple[tuple[str, ...], Weights | None]:
        """What a network starts from: cached maps (``frozen``) or the backbone's weights (``finetune``)."""
        source = self.backbone(model)
        if source is not None and self.settings.regime == "finetune":
            return (), Weights(str(source.path), source.sha256)
        return self.maps(cohort, model), None

    def maps(self, cohort: Cohort, model: ModelSettings) -> tuple[str, ...]:
        """Cached map files of ``model``'s backbone in the cohort's order (none for radiomics alone)."""
        source = self.backbone(model)
        if source is None:
            return ()
        cache = self.work.resolve() / "maps"
        return tuple(
            build_maps(
                cohort, model, source.path, source.sha256, self.settings.augmentations, cache,
                jobs=self.jobs, scheduler=self.scheduler, progress=self.progress,
            )
        )  # fmt: skip


def _effort(task: FoldTask) -> int:
    """How long a fold takes beside others: ASPP longest, then networks without it, then radiomics alone."""
    if task.model is None or task.model.backbone is None:
        return 0
    return 2 if task.model.aspp else 1


def _open_backbone(model: ModelSettings, path: Path, sha256: str):
    """The weights in ``path``: this project's own file first, else torchvision's ImageNet checkpoint."""
    try:
        return "simulated", load_backbone(model, path, sha256)
    except BadInput:
        return "imagenet", imagenet_backbone(model, path, sha256)
