"""The evaluation's report: one HTML file with pictures, the published table beside ours, and what must be doubted."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np
import pandas as pd

from cnsifusion.imaging.write import write_text
from cnsifusion.training.learners import CONFOUNDERS
from cnsifusion.training.metrics import STRATEGIES
from cnsifusion.training.pictures import draw

if TYPE_CHECKING:
    from cnsifusion.training.evaluate import Evaluation
    from cnsifusion.training.experiment import Experiment

#: Region B, DenseASPP-RadFusion: the only figures of the abstract (mean and SD over folds, in per cent).
PUBLISHED = {"accuracy": (78.57, 4.76), "precision": (84.09, 3.31), "f1": (76.12, 6.86)}
_SHOWN = ("auc", "accuracy", "precision", "sensitivity", "specificity", "f1", "brier", "calibration_slope")


def write_report(experiment: Experiment, result: Evaluation, out: Path) -> Path:
    """Write ``report.html`` from the tables in ``out`` and the results; returns its path."""
    from cnsifusion.training.evaluate import stamp

    intervals = pd.read_csv(out / "patient_intervals.csv")
    metrics = pd.read_csv(out / "patient_metrics.csv")
    drawn = ("roc", "calibration", "decision", "scales", "learning")
    frames = {name: pd.read_csv(out / f"{name}.csv") for name in drawn}
    rows = list(result.predictions)
    features = pd.read_csv(out / "features.csv")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_template())
    html = template.render(
        stamp=stamp(experiment, result),
        pictures=draw(frames, rows),
        rows=[_row(name, result, intervals, metrics) for name in rows],
        shown=_SHOWN,
        strategies=[_strategy(name, s, metrics) for name in rows if name not in CONFOUNDERS for s in STRATEGIES],
        published=_published(metrics),
        differences=pd.read_csv(out / "differences.csv").to_dict("records"),
        features=features[features["outer"] > 0].groupby("model", sort=False).head(10).to_dict("records"),
        ablations=pd.read_csv(out / "ablations.csv").to_dict("records"),
        sites=pd.read_csv(out / "by_site.csv").query("strategy == 'mean' and fold == 'mean'").to_dict("records"),
        number=_number,
    )
    path = out / "report.html"
    write_text(html, path)
    return path


def _template() -> str:
    return (files("cnsifusion.resources") / "evaluation" / "report.html.j2").read_text("utf-8")


def _row(name: str, result: Evaluation, intervals: pd.DataFrame, metrics: pd.DataFrame) -> dict:
    """One model's figures at the default threshold: interval first, then mean and SD over folds."""
    own = intervals[(intervals["model"] == name) & (intervals["strategy"] == "mean")].set_index("figure")
    folds = metrics[(metrics["model"] == name) & (metrics["strategy"] == "mean")].set_index("fold")
    cells = []
    for figure in _SHOWN:
        value, low, high = own.loc[figure, ["value", "low", "high"]]
        cells.append({
            "value": _number(value), "interval": f"{_number(low)} to {_number(high)}",
            "folds": f"{_number(folds.loc['mean', figure])} ± {_number(folds.loc['sd', figure])}",
        })  # fmt: skip
    return {
        "name": name, "confounder": name in CONFOUNDERS, "origin": result.origins.get(name, "none"), "cells": cells,
    }  # fmt: skip


def _strategy(name: str, strategy: str, metrics: pd.DataFrame) -> dict:
    row = metrics[(metrics["model"] == name) & (metrics["strategy"] == strategy) & (metrics["fold"] == "all")].iloc[0]
    figures = ("accuracy", "precision", "sensitivity", "specificity", "f1", "lr_plus", "lr_minus", "indeterminate",
               "accuracy_determinate", "instances_per_patient")  # fmt: skip
    return {"name": name, "strategy": strategy, **{f: _number(row[f]) for f in figures}}


def _published(metrics: pd.DataFrame) -> list[dict]:
    """The published figures beside ours for the same model, where it was evaluated."""
    ours = metrics[(metrics["model"] == "dense-aspp-radfusion") & (metrics["strategy"] == "mean")].set_index("fold")
    rows = []
    for figure, (mean, sd) in PUBLISHED.items():
        own = "not evaluated"
        if len(ours):
            own = f"{100 * ours.loc['mean', figure]:.2f} ± {100 * ours.loc['sd', figure]:.2f} %"
        rows.append({"figure": figure, "published": f"{mean} ± {sd} %", "ours": own})
    return rows


def _number(value: float) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.3f}"
