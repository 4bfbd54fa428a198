"""Pictures of the evaluation's report, as PNG data for an <img> element."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot as plt

#: Okabe and Ito's palette: distinguishable for colour-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999", "#F0E442")


@contextmanager
def _figure(pictures: dict[str, str], name: str) -> Iterator[plt.Axes]:
    figure, axes = plt.subplots(figsize=(5.2, 4.2), dpi=110)
    try:
        yield axes
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
        pictures[name] = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    finally:
        plt.close(figure)


def draw(frames: dict[str, pd.DataFrame], models: list[str]) -> dict[str, str]:
    """Pictures by name from the tables of the evaluation."""
    pictures: dict[str, str] = {}
    color = {m: COLORS[i % len(COLORS)] for i, m in enumerate(models)}
    with _figure(pictures, "roc") as axes:
        axes.plot([0, 1], [0, 1], color="0.7", lw=1)
        for model, table in frames["roc"].groupby("model", sort=False):
            axes.plot(table["false_positive_rate"], table["sensitivity"], color=color[model], label=model)
        axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, patients, out of fold")
    with _figure(pictures, "calibration") as axes:
        axes.plot([0, 1], [0, 1], color="0.7", lw=1)
        for model, table in frames["calibration"].groupby("model", sort=False):
            axes.plot(table["predicted"], table["observed"], "o-", color=color[model], label=model, ms=4)
        axes.set(xlabel="predicted probability", ylabel="observed share", title="Calibration, fifths of the patients")
    _decision(pictures, frames["decision"], color)
    with _figure(pictures, "scales") as axes:
        table = frames["scales"]
        places = np.arange(len(table))
        axes.bar(places - 0.2, table["best_auc"], 0.4, color=COLORS[0], label="best feature")
        axes.bar(places + 0.2, table["top10_auc"], 0.4, color=COLORS[4], label="mean of the best ten")
        axes.set_xticks(places, ["original" if s == 0 else f"LoG {s:g} mm" for s in table["scale_mm"]], fontsize=7)
        axes.set(ylim=(0.5, 1), ylabel="univariate AUC", title="Discrimination by filter scale")
    if len(frames["learning"]):
        with _figure(pictures, "learning") as axes:
            axes.plot(frames["learning"]["patients"], frames["learning"]["auc"], "o-", color=COLORS[0])
            axes.set(xlabel="patients", ylabel="AUC", title="Learning curve, radiomics-logistic")
    return pictures


def _decision(pictures: dict[str, str], table: pd.DataFrame, color: dict[str, str]) -> None:
    for prevalence in (0.05, 0.2):
        part = table[np.isclose(table["prevalence"], prevalence)]
        with _figure(pictures, f"decision{round(100 * prevalence)}") as axes:
            for model, rows in part.groupby("model", sort=False):
                axes.plot(rows["threshold"], rows["net_benefit"], color=color[model], label=model)
                everyone = rows
            if len(part):
                axes.plot(everyone["threshold"], everyone["treat_all"], color="0.6", ls="--", label="treat all")
            axes.axhline(0, color="0.3", lw=1)
            axes.set(
                xlabel="threshold probability", ylabel="net benefit", ylim=(-0.05, prevalence * 1.1),
                title=f"Decision curve at a prevalence of {prevalence:.0%}",
            )  # fmt: skip
