"""Planted effects: a scenario runs from nothing to figures once, and the judge can say no."""

import copy

import pytest

pytest.importorskip("torch")

from cnsifusion.training.planted import BASE, HYBRID, RADIOMICS, SCENARIOS, judge, line, run_scenario
from cnsifusion.training.settings import TrainingSettings

FINE, COARSE, SPATIAL, ELSEWHERE, NOTHING = SCENARIOS


def result(radiomics=0.75, base=0.7, hybrid=0.76, fine=0.7, coarse=0.6, oracle=0.85, patients=200):
    models = {
        m: {"auc": a, "pooled": a, "interval": [a - 0.05, a + 0.05], "slope": 1.0, "slope_interval": [0.7, 1.3],
            "brier": 0.2}
        for m, a in ((RADIOMICS, radiomics), (BASE, base), (HYBRID, hybrid))
    }  # fmt: skip
    scales = {"0.0": 0.6, "0.5": fine, "3.0": coarse}
    found = {"scenario": "fine", "patients": patients, "seed": 1, "oracle": oracle, "models": models, "scales": scales}
    lost = {b: hybrid - a for b, a in ((BASE, base), (RADIOMICS, radiomics))}
    return {**found, "differences": {f"{HYBRID} - {b}": [d, d - 0.088, d + 0.088] for b, d in lost.items()}}


def test_a_sound_result_passes_and_each_fault_is_said():
    assert judge(FINE, [result()]) == []
    assert "lead" in judge(FINE, [result(fine=0.55)])[0] and "lead" in judge(COARSE, [result()])[0]
    assert "better branch by 0.060" in judge(FINE, [result(hybrid=0.69)])[0]
    small = {"patients": 60, "hybrid": 0.69}  # a standard error of 0.045 at this size, of 0.022 over four seeds
    assert judge(FINE, [result(**small)]) == [] and "by 0.060" in judge(FINE, [result(**small)] * 4)[0]
    assert "above the oracle" in judge(FINE, [result(oracle=0.6)])[0]
    assert "no network" in " ".join(judge(SPATIAL, [result(radiomics=0.5, base=0.52, hybrid=0.5)]))
    assert judge(SPATIAL, [result(radiomics=0.5, base=0.7, hybrid=0.7)]) == []
    permuted = {"permuted": [0.45, 0.5, 0.52, 0.49]}
    chance = {**result(radiomics=0.5, base=0.46, hybrid=0.49, oracle=None), **permuted}
    assert judge(NOTHING, [chance]) == [] == judge(ELSEWHERE, [chance])
    assert "radiomics-logistic 0.750 is not chance" in judge(NOTHING, [{**result(oracle=None), **permuted}])[0]
    leaky = judge(NOTHING, [{**chance, "permuted": [0.54, 0.55, 0.58, 0.6]}])
    assert any("shuffled labels give 0.568" in p for p in leaky)
    assert "no model finds" in judge(COARSE, [result(0.3, 0.5, 0.49, fine=0.5)])[0]
    off = copy.deepcopy(result())
    off["models"][HYBRID]["slope"] = 0.5
    assert "calibration slope 0.50" in judge(FINE, [off])[0]
    assert judge(FINE, [{**off, "patients": 60}]) == []  # reported only, at this size


def test_a_scenario_runs_from_nothing_to_figures_once(tmp_path):
    settings = TrainingSettings(
        folds=2, inner_folds=2, selectors=("mrmr",), feature_counts=(4,), bootstrap=20, augmentations=0
    )
    found = run_scenario(FINE, 4, 9, settings, tmp_path, None)
    assert 0 <= found["models"][RADIOMICS]["auc"] <= 1 and found["oracle"] is not None
    assert {"0.0", "0.5", "3.0"} <= set(found["scales"]) and "fine, seed 9" in line(found)
    (file,) = (tmp_path / "planted").iterdir()
    for folder in tmp_path.glob("sublentiform-*"):
        folder.rename(tmp_path / "gone")
    assert run_scenario(FINE, 4, 9, settings, tmp_path, None)["models"] == found["models"]
    assert file.stat().st_size and not (tmp_path / "sublentiform-fine-4-9").exists()
