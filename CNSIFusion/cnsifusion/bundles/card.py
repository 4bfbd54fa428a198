"""The model card: what a bundle is, whom it was trained on, how good it is and what it must not be used for.

The order follows the reporting items of TRIPOD+AI (Collins et al., BMJ 2024;385:e078378), CLAIM (Mongan et al., Radiol
Artif Intell 2020) and CLEAR (Kocak et al., Insights Imaging 2023) that concern a finished model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnsifusion.bundles.bundle import Bundle
from cnsifusion.bundles.load import load_bundle
from cnsifusion.bundles.settings import BundleSettings, Figure, Range


def bundle_card(directory: str | Path) -> str:
    """The card of the bundle in ``directory`` as Markdown; raises BundleError for a bundle that cannot be used."""
    bundle: Bundle = load_bundle(directory)
    return card_text(bundle.settings, bundle.sha256)


def card_text(settings: BundleSettings, sha256: str) -> str:
    """The card of a loaded bundle as Markdown."""
    cohort, shape = settings.cohort, settings.architecture
    lines = [f"# {settings.name}", ""]
    if settings.demonstration:
        lines += [f"**DEMONSTRATION. {settings.demonstration_text}**", ""]
    lines += [
        "Research use only. Does not replace lumbar puncture; a low score does not exclude infection.",
        "",
        "## Intended use",
        settings.intended_use,
        "",
        "## Model",
        f"- Model: {shape.model}; region: {settings.region} ({settings.submask})",
        f"- Backbone: {shape.backbone} (origin: {shape.backbone_origin}); {shape.heads} fold models on one backbone",
        f"- Inputs: {_inputs(settings)}",
        f"- Output: infection probability, calibrated (Platt) at the training prevalence of {cohort.prevalence:.0%}",
        "- Thresholds: " + ", ".join(f"{n} {v:.3f}" for n, v in sorted(settings.thresholds.items()))
        + f" (default: {settings.default_threshold})",
        f"- Made: {settings.created}; bundle hash {sha256}",
        "",
        "## Training data",
        f"- {cohort.infected} infected, {cohort.controls} controls ({cohort.kind_of_controls})"
        + (", SIMULATED" if cohort.simulated else ""),
        f"- {cohort.description}",
        *[_range(name, seen) for name, seen in settings.training_ranges.items()],
        "",
        "## Performance",
        settings.figures_describe,
        "",
        "| strategy | figure | value | 95 % interval |",
        "| --- | --- | --- | --- |",
        *[_row(f) for f in settings.figures],
        "",
        "## Limits",
        *[f"- {limit}" for limit in settings.limits],
        "",
        "## Features",
        f"{len(settings.features.names)} selected ({settings.features.selector}): "
        + (", ".join(settings.features.names) or "none"),
        "",
        "## Reporting items",
        "| item (TRIPOD+AI, CLAIM, CLEAR) | this model |",
        "| --- | --- |",
        *[f"| {item} | {_cell(answer)} |" for item, answer in _reporting_items(settings)],
        "",
        "## Provenance",
        *[f"- {_plain(key)}: {_value(value)}" for key, value in sorted(settings.provenance.items())],
    ]
    return "\n".join(lines) + "\n"


def _reporting_items(settings: BundleSettings) -> list[tuple[str, str]]:
    """The guidelines' items on data, model and evaluation, each with what is known, or that it is not."""
    cohort, training = settings.cohort, settings.provenance.get("training_settings")
    training = training if isinstance(training, Mapping) else {}
    simulated = "simulated from latents; no patient" if cohort.simulated else "not stated in the bundle"
    truth = "the simulator's own" if cohort.simulated else "the label column of the site's manifest, not checked here"
    radiomics = settings.radiomics
    return [
        ("Data source, dates, setting", simulated),
        ("Eligibility", settings.intended_use),
        ("Outcome and reference standard", f"infected (1) or control (0): {truth}"),
        ("Who drew the regions", "see the manifest's mask_origin; features below ICC(2,1) "
         f"{training.get('minimum_icc', '?')} under mask jitter, slice shift and noise are never chosen"),
        ("Image preparation", _sentence(settings.preparation)),
        ("Feature extraction", _sentence({n: radiomics[n] for n in ("log_mode", "log_sigmas_mm") if n in radiomics})
         + f"; settings hash {settings.provenance.get('radiomics_hash', '?')}"),
        ("Missing values", "replaced by the training patients' median; a feature missing in a fifth is never chosen"),
        ("Sample size", f"{cohort.infected + cohort.controls} patients, as many as there were; not calculated"),
        ("Class balance", f"prevalence {cohort.prevalence:.0%}; no resampling; every patient weighs the same"),
        ("Data partition", f"by patient, {training.get('folds', '?')} outer and {training.get('inner_folds', '?')} "
         "inner folds; every choice in the inner folds"),
        ("External validation", "none"),
        ("Fairness: results by site, age and sex", "see the evaluation report by site; by age and sex not reported"),
        ("Handling of uncertainty", "range over fold models; warnings outside the training ranges"),
        ("Failure analysis", "not part of the bundle"),
        ("Protocol, registration", "Resources/Docs/training.md; not registered"),
        ("Code and data", "code: this program, its source hashed under Provenance; data not included"),
    ]  # fmt: skip


def _sentence(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{_plain(name)} {value}" for name, value in values.items())


def _inputs(settings: BundleSettings) -> str:
    parts = [f"{len(settings.features.names)} radiomics features"] if settings.features.names else []
    if settings.architecture.has_network:
        shape = settings.architecture
        rows, columns = shape.patch_shape[1:]
        parts.append(f"patches of {rows} x {columns} pixels (the network's cells: {shape.cell_mm:g} mm)")
    return " and ".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _value(value: Any) -> str:
    return _sentence(value) if isinstance(value, Mapping) else str(value)


def _range(name: str, seen: Range) -> str:
    return f"- {_plain(name.removesuffix(f'_{seen.unit.lower()}'))}: {seen.low:.3g} to {seen.high:.3g} {seen.unit}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _row(figure: Figure) -> str:
    interval = "" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"
    return f"| {figure.strategy} | {figure.metric} | {figure.value:.3f} | {interval} |"
