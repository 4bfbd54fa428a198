"""The model card: what a bundle is, whom it was trained on, how good it is and what it must not be used for.

The order follows the reporting items of TRIPOD+AI (Collins et al., BMJ 2024;385:e078378), CLAIM (Mongan et al., Radiol
Artif Intell 2020) and CLEAR (Kocak et al., Insights Imaging 2023) that concern a finished model.
"""

from __future__ import annotations

from pathlib import Path

from cnsifusion.bundles.bundle import Bundle
from cnsifusion.bundles.load import load_bundle
from cnsifusion.bundles.settings import BundleSettings, Figure


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
        *[f"- {_plain(n)}: {r.low:.3g} to {r.high:.3g} {r.unit}" for n, r in settings.training_ranges.items()],
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
        "## Provenance",
        *[f"- {_plain(key)}: {value}" for key, value in sorted(settings.provenance.items())],
    ]
    return "\n".join(lines) + "\n"


def _inputs(settings: BundleSettings) -> str:
    parts = [f"{len(settings.features.names)} radiomics features"] if settings.features.names else []
    if settings.architecture.has_network:
        shape = settings.architecture
        rows, columns = shape.patch_shape[1:]
        parts.append(f"patches of {rows} x {columns} pixels (heat map cell {shape.cell_mm:g} mm)")
    return " and ".join(parts)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _row(figure: Figure) -> str:
    interval = "" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"
    return f"| {figure.strategy} | {figure.metric} | {figure.value:.3f} | {interval} |"
