"""A small bundle with a real exported network, made once."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cnsifusion.bundles import BundleSettings, write_bundle  # noqa: E402
from cnsifusion.bundles.settings import (  # noqa: E402
    Architecture,
    Calibration,
    Cohort,
    Features,
    Figure,
    Range,
)
from cnsifusion.models.backbones import random_backbone, weights_sha256  # noqa: E402
from cnsifusion.models.export import ExportedModel, export_head, export_model  # noqa: E402
from cnsifusion.models.fusion import RadFusion  # noqa: E402
from cnsifusion.models.settings import get_model  # noqa: E402

HEADS, PIXELS = 3, 32
NAMES = [f"original_firstorder_F{n}" for n in range(6)]


@pytest.fixture(scope="session")
def network():
    """(exported model in torch, its bundle's settings, file contents)."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    model = get_model("mobile-aspp-radfusion")
    backbone = random_backbone(model, 3)
    fusion = RadFusion(model, HEADS, len(NAMES))
    exported = ExportedModel(model, backbone, fusion).eval()
    contents = {
        "model.onnx": export_model(exported, (2, PIXELS, PIXELS), half=False),
        "head.onnx": export_head(fusion.head),
    }
    return exported, _settings(model, backbone, fusion.pooled), contents


def _settings(model, backbone, pooled):
    quantiles = np.linspace(-2, 2, 7).tolist()
    return BundleSettings(
        schema_version=1,
        name="test",
        created="2026-11-22",
        region="sublentiform",
        submask="whole",
        architecture=Architecture(
            model.name, model.backbone, "random", weights_sha256(backbone), HEADS, pooled,
            (2, PIXELS, PIXELS), (4, 4), 4.0,
        ),
        preparation={},
        patches={},
        radiomics={},
        features=Features(NAMES, [1.0] * 6, [2.0] * 6, [0.5] * 6, [quantiles] * 6, "mrmr-6"),
        baseline_pooled=np.full((HEADS, pooled), 0.1).tolist(),
        calibration=Calibration(1.5, -0.2),
        thresholds={"sensitivity95": 0.4, "youden": 0.5},
        default_threshold="sensitivity95",
        training_ranges={"pixel_mm": Range(0.4, 0.6, "mm")},
        cohort=Cohort(40, 60, "healthy", "100 patients", True),
        figures=[Figure("auc", "mean", 0.8, 0.7, 0.9)],
        figures_describe="5x5 nested cross-validation",
        demonstration=True,
        demonstration_text="Trained on simulated patients only.",
        intended_use="Research.",
        limits=["none known"],
        files={},
    )  # fmt: skip


@pytest.fixture(scope="session")
def made(network, tmp_path_factory):
    _, settings, contents = network
    return write_bundle(tmp_path_factory.mktemp("bundle") / "test", settings, contents)


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the bundle that a test may damage."""
    return shutil.copytree(made, tmp_path / "copy")


@pytest.fixture
def rewrite():
    """Change bundle.json through a function of its dict, or replace a graph (its hash is put right)."""

    def change(folder, edit=None, graph=None, content=None):
        path = folder / "bundle.json"
        values = json.loads(path.read_text())
        if graph is not None:
            (folder / graph).write_bytes(content)
            values["files"][graph] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        if edit is not None:
            edit(values)
        path.write_text(json.dumps(values))

    return change
