"""What the command line runs for cohorts: each function takes the parsed options and where progress goes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cnsifusion import __version__
from cnsifusion.errors import BadInput
from cnsifusion.imaging import check_output
from cnsifusion.imaging.read import content_sha256
from cnsifusion.models.settings import get_model
from cnsifusion.radiomics import FeatureTable
from cnsifusion.training.cohort import feature_table
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.settings import TrainingSettings
from cnsifusion.training.tasks import Progress


def cohort_features(options: argparse.Namespace, progress: Progress) -> tuple[Path, list[str]]:
    """``cohort features``: one table of all patients' instances of one region or both, resumable; returns its path and
    warnings.
    """
    FeatureTable.check_file(options.output)
    if options.output.resolve() == options.manifest.resolve():
        raise BadInput("The table would take the place of its manifest; give it another name.")
    regions = ("sublentiform", "ventricles") if options.region == "all" else (options.region,)
    work = _work(options.output.with_suffix(".work"), options.resume)
    experiment = _experiment(options, progress, work, region=regions[0], folds=0)
    cohorts = experiment.cohorts(regions)
    table = FeatureTable.concat([feature_table(cohort) for cohort in cohorts])
    table.metadata |= {
        "cnsifusion": __version__,
        "preparation": experiment.settings.preparation.to_dict(),
        "submask": experiment.settings.submask,
        "manifest_sha256": content_sha256(options.manifest),
        "assigned": experiment.manifest.names,
        "cohort_hashes": [cohort.key for cohort in cohorts],
    }
    table.metadata["warnings"] = [*experiment.manifest.warnings, *table.metadata["warnings"]]
    table.write(options.output)
    return options.output, table.metadata["warnings"]


def pretrain(options: argparse.Namespace, progress: Progress) -> Path:
    """``pretrain``: a backbone's weights from simulated patients, without labels; returns their file."""
    from cnsifusion.training.pretrain import pretrain as fit

    model, out = get_model(options.model), options.output
    if model.backbone is None:
        raise BadInput(f"{model.name} has no backbone to pre-train.")
    if out.suffix != ".pt" or not 10 <= options.steps <= 1_000_000:
        raise BadInput("The weights' file must end in .pt, and steps lie between 10 and 1000000.")
    work = _work(out.with_suffix(".work"), options.resume)
    experiment = _experiment(options, progress, work, region=options.region, folds=0)
    if not experiment.manifest.simulated:
        raise BadInput("Pre-training takes simulated patients (cnsifusion simulate): so no patient is met again later.")
    fit(experiment, model, out, options.steps, experiment.settings.seed)
    return out


def train(options: argparse.Namespace, progress: Progress) -> tuple[Path, list[str]]:
    """``train``: nested cross-validation, then the bundle of its fold models; returns its folder and warnings."""
    from cnsifusion.training.train import train_bundle

    get_model(options.model)
    out = options.output
    work = _work(out.with_name(f"{out.name}.work"), options.resume)
    experiment = _experiment(options, progress, work, region=options.region, models=[options.model])
    bundle = train_bundle(experiment, options.model, out, options.name, controls=options.controls)
    return bundle, experiment.manifest.warnings


def evaluate(options: argparse.Namespace, progress: Progress) -> tuple[Path, list[str]]:
    """``evaluate``: nested cross-validation of several models and the confounder rows, figures; returns the report and
    its warnings.
    """
    from cnsifusion.training.evaluate import STAMP, evaluate_models

    models = list(options.models)
    work = _work(options.output / "work", options.resume)
    experiment = _experiment(options, progress, work, region=options.region, models=models)
    report = evaluate_models(experiment, models, options.output, options.permute_labels)
    return report, json.loads(report.with_name(STAMP).read_text("utf-8"))["warnings"]


def _experiment(
    options: argparse.Namespace,
    progress: Progress,
    work: Path,
    region: str,
    models: list[str] | None = None,
    folds: int | None = None,
) -> Experiment:
    values = _settings_file(getattr(options, "settings", None))
    if (seed := getattr(options, "seed", None)) is not None:  # what is typed goes before what the file says
        values["seed"] = seed
    backbones = _backbones(getattr(options, "backbone_weights", None), models or [])
    return Experiment.open(
        options.manifest, region, TrainingSettings.from_dict(values), work, folds=folds,
        names=dict(getattr(options, "assign", ())), backbones=backbones,
        allow_random_backbone=getattr(options, "allow_random_backbone", False),
        jobs=options.jobs, scheduler=options.scheduler, progress=progress,
    )  # fmt: skip


def _backbones(weights: Path | None, models: list[str]) -> dict[str, Path]:
    """The files of ``weights`` (file or folder) by the name of the backbones that ``models`` have."""
    if weights is None:
        return {}
    if not weights.exists():
        raise BadInput("There is no file or folder of backbone weights at the path given.")
    names = sorted({str(get_model(name).backbone) for name in models if get_model(name).backbone})
    files = {name: weights / f"{name}.pt" if weights.is_dir() else weights for name in names}
    found = {name: path for name, path in files.items() if path.exists()}
    if names and (not found or (len(names) > 1 and not weights.is_dir())):
        wanted = " or ".join(f"{name}.pt" for name in names)
        raise BadInput(f"Give a folder of backbone weights with {wanted} (a file, where all models have one backbone).")
    return found


def _settings_file(path: Path | None) -> dict:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput("The file of training settings cannot be read as JSON.") from error
    if not isinstance(values, dict):
        raise BadInput("The file of training settings must hold a JSON object.")
    return values


def _work(path: Path, resume: bool) -> Path:
    """The folder of caches; work of an earlier run is only used when asked for (its names hold all that matters)."""
    check_output(path)
    if path.exists() and any(path.iterdir()) and not resume:
        raise BadInput(f"{path} holds an earlier run: add --resume to go on with it, or remove it.")
    return path
