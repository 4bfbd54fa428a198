"""A bundle is its fold models, and what it says of itself is what the cross-validation found, by another way."""

import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from experiments import SETTINGS, open_experiment
from planted_cohort import make_cohort

from cnsifusion.bundles import bundle_card, load_bundle
from cnsifusion.bundles.settings import QUANTILE_LEVELS
from cnsifusion.errors import BadInput, BundleError
from cnsifusion.models.backbones import random_backbone, weights_sha256
from cnsifusion.models.settings import get_model
from cnsifusion.roi.patches import PatchSettings
from cnsifusion.training.calibration import fit_platt, threshold_at_sensitivity, threshold_youden
from cnsifusion.training.cases import QUANTITIES
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.metrics import STRATEGIES, patient_figures
from cnsifusion.training.nested import join
from cnsifusion.training.train import train_bundle

MODELS = ("radiomics-logistic", "mobile-aspp-radfusion", "mobilenetv3-large")
QUICK = replace(SETTINGS, sensitivity=0.9, seed=5, submask="without-pvs", patches=PatchSettings(size_mm=16.0))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """18 infected and 19 controls of two sites, with 1 to 3 instances each, some without one of the features."""
    instances = [1 + n % 3 for n in range(37)]
    cohort = make_cohort(tmp_path_factory.mktemp("cases"), patients=37, effect=2.0, spot=2.0, instances=instances)
    cohort.features[::9, 3] = np.nan
    sites, age = np.where(np.arange(37) < 20, "A", "B"), np.where(np.arange(37) == 0, np.nan, cohort.age)
    ids = np.array([f"PID-{p}" for p in cohort.patient_ids])
    return replace(cohort, patient_ids=ids, site=sites, age=age, quantities=cohort.quantities * np.arange(1, 10))


@pytest.fixture(scope="module", params=MODELS)
def trained(request, cohort, tmp_path_factory):
    """(folder of the experiment, the experiment, its bundle, its fold results)."""
    folder = tmp_path_factory.mktemp("experiment")
    experiment = open_experiment(folder, cohort, settings=QUICK)
    experiment.manifest.warnings.append("a doubt of the manifest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "cohort", lambda self: cohort)
        made = train_bundle(experiment, request.param, folder / "bundle", "Ours", {"recipe_hash": "of the recipe"})
    return folder, experiment, load_bundle(made), experiment.run(cohort, [request.param])[request.param]


@pytest.fixture
def found(trained, cohort):
    """Out-of-fold predictions of all patients."""
    return join(cohort, trained[3], cohort.labels)


@pytest.fixture
def predicted(trained, cohort):
    """What the bundle makes of all instances."""
    bundle = trained[2]
    patches = cohort.patches().astype(np.float32) if bundle.settings.architecture.has_network else None
    return bundle.predict(patches, cohort.features, cohort.names.tolist())


def test_each_head_gives_what_its_fold_model_gave(trained, cohort, predicted):
    _, _, bundle, folds = trained
    assert bundle.settings.architecture.heads == len(folds) == 3
    for head, fold in enumerate(folds):
        # Maps were kept as float16; what is missing is replaced by one value for all heads.
        off = np.where(np.isnan(cohort.features[fold.instances, 3]), 0.3, 0.02)
        assert (np.abs(predicted.logit[fold.instances, head] - fold.logits) < off).all()
    for parts, logit in zip(bundle.contributions(predicted), predicted.logit.mean(axis=1)):
        assert parts.baseline + parts.network + sum(parts.features.values()) == pytest.approx(logit, abs=1e-4)
        assert list(parts.features) == bundle.settings.features.names


def test_calibration_and_thresholds_are_those_of_all_patients(trained, found):
    bundle = trained[2]
    platt = fit_platt(found.score, found.labels)
    probability = bundle.probability(found.score)
    assert np.allclose(probability, platt(found.score), atol=1e-9)
    expected = {
        "sensitivity90": threshold_at_sensitivity(probability, found.labels, 0.9),
        "youden": threshold_youden(probability, found.labels),
    }
    assert bundle.settings.thresholds == pytest.approx(expected)
    assert bundle.settings.default_threshold == "sensitivity90"  # the report says "set at sensitivity 90 %"


def test_contributions_are_counted_from_the_average_patient(trained, cohort, predicted):
    weight = 1 / np.bincount(cohort.patient)[cohort.patient] / 37
    expected = np.einsum("n,nhp->hp", weight, predicted.pooled)
    assert np.allclose(trained[2].settings.baseline_pooled, expected, atol=0.01)
    assert trained[2].settings.architecture.model == "radiomics-logistic" or np.abs(expected).max() > 0.1


def test_features_come_with_scaler_and_distribution(trained, cohort):
    folds, features = trained[3], trained[2].settings.features
    chosen = [set() if fold.columns is None else set(cohort.names[fold.columns]) for fold in folds]
    if not any(chosen):
        assert (features.names, features.selector) == ([], "none")
        return
    assert set(features.names) == set.union(*chosen) and len(features.names) > 4, "the folds chose alike: a poor test"
    assert features.selector == "mrmr-4"
    for at, name in enumerate(features.names):
        values = cohort.features[:, cohort.names.tolist().index(name)]
        using = [(fold, fold.columns.tolist().index(cohort.names.tolist().index(name)))
                 for fold, names in zip(folds, chosen) if name in names]  # fmt: skip
        for part in ("mean", "scale", "impute"):
            own = np.mean([getattr(fold, part)[column] for fold, column in using])
            assert getattr(features, part)[at] == pytest.approx(own)
        assert features.quantiles[at] == pytest.approx(np.nanquantile(values, QUANTILE_LEVELS).tolist())


def test_it_says_whom_it_was_trained_on_and_how_good_it_is(trained, cohort, found):
    settings = trained[2].settings
    trained_on, known = settings.cohort, np.delete(cohort.age, 0)
    assert (trained_on.infected, trained_on.controls, trained_on.simulated) == (18, 19, True)
    assert trained_on.kind_of_controls == "simulated, no infection"
    assert trained_on.description == (
        f"37 patients, {len(cohort.patient)} instances; sites: A (20), B (17); "
        f"age {known.min():.0f} to {known.max():.0f} years"
    )
    columns = {"pixel_mm": "mm", "slice_spacing_mm": "mm", "repetition_time_ms": "ms", "echo_time_ms": "ms",
               "field_strength_t": "T"}  # fmt: skip
    assert {name: seen.unit for name, seen in settings.training_ranges.items()} == columns
    for name, seen in settings.training_ranges.items():
        values = cohort.quantities[:, QUANTITIES.index(name)]
        assert 0.9 * values.min() < seen.low < values.min() and values.max() < seen.high < 1.1 * values.max(), name
    assert {figure.strategy for figure in settings.figures} == set(STRATEGIES)
    for figure in settings.figures:
        assert figure.value == pytest.approx(patient_figures(found, figure.strategy)[figure.metric])
        assert figure.low <= figure.value <= figure.high
    assert {f.metric for f in settings.figures if f.strategy == "mean"} > {"auc", "brier", "specificity"}
    assert {f.metric for f in settings.figures if f.strategy == "any"} == {"accuracy", "sensitivity", "specificity"}
    assert "3x3 nested cross-validation (SIMULATED patients)" in settings.figures_describe
    assert settings.demonstration and settings.demonstration_text == settings.limits[0] and len(settings.limits) == 5
    assert "simulated" in settings.demonstration_text


def test_it_keeps_how_it_was_made_and_names_no_patient(trained, cohort):
    folder, experiment, bundle, folds = trained
    settings, architecture = bundle.settings, bundle.settings.architecture
    assert (settings.name, settings.region, settings.submask) == ("Ours", "sublentiform", "without-pvs")
    assert settings.preparation == QUICK.preparation.to_dict() and settings.patches == QUICK.patches.to_dict()
    assert settings.radiomics == cohort.radiomics.to_dict()
    kept = settings.provenance
    assert kept["recipe_hash"] == "of the recipe" and kept["seed"] == 5
    assert kept["manifest_sha256"] == hashlib.sha256(b"x").hexdigest() and kept["cohort_hash"] == cohort.key
    assert kept["fold_choices"] == [fold.choice for fold in folds]
    assert kept["warnings"] == ["a doubt of the manifest"]
    assert kept["training_settings"] == experiment.settings.to_dict()
    model = get_model(architecture.model)
    if model.backbone is None:
        assert architecture.backbone_origin == "none" and not kept["weights_float16"]
    else:
        assert architecture.backbone_sha256 == weights_sha256(random_backbone(model, 5))
        assert (architecture.backbone_origin, architecture.map_cells, architecture.cell_mm) == ("random", (4, 4), 4.0)
        assert 0 < kept["parity_probability"] < 1e-4
    written = [path.read_bytes() for path in (folder / "bundle").iterdir()]
    assert not any(word in content for content in written for word in (b"PID-", str(folder).encode()))


def test_weights_are_halved_where_that_keeps_parity(tmp_path, cohort, monkeypatch):
    """Random backbones do not keep it at 1e-4, so the bundles above have float32 weights."""
    monkeypatch.setattr(Experiment, "cohort", lambda self: cohort)
    monkeypatch.setattr("cnsifusion.training.assemble.PARITY", 0.05)
    experiment = open_experiment(tmp_path, cohort, settings=QUICK)
    bundle = load_bundle(train_bundle(experiment, "mobilenetv3-large", tmp_path / "bundle"))
    assert bundle.settings.provenance["weights_float16"]
    assert 0 < bundle.settings.provenance["parity_probability"] < 0.05
    weights = random_backbone(get_model("mobilenetv3-large"), 5).state_dict().values()
    size = (tmp_path / "bundle" / "model.onnx").stat().st_size
    assert size < 0.6 * sum(values.nbytes for values in weights)


def test_a_network_alone_analyzes_a_head_and_explains_itself(trained, analyzer, simulated_image, tmp_path):
    if trained[2].settings.features.names:  # of a cohort of numbers: no head has such features
        with pytest.raises(BundleError, match="_F3"):
            analyzer.analyze(simulated_image, tmp_path / "out", bundle=trained[0] / "bundle")
        return
    result = analyzer.analyze(simulated_image, tmp_path / "out", bundle=trained[0] / "bundle")
    assert [part.name for part in result.contributions] == ["baseline", "network"]
    for one in result.instances:
        assert sum(part.log_odds for part in one.contributions) == pytest.approx(one.log_odds, abs=1e-4)
    assert len({round(one.log_odds, 6) for one in result.instances}) == len(result.instances) > 2
    assert [key for key, _, _ in result.maps] == ["heatmap"] and not (tmp_path / "out" / "logmap.nii.gz").exists()
    report = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Model: mobilenetv3-large" in report and "place in training" not in report, "a table without a row"


def test_the_card_says_who_the_controls_were(tmp_path, cohort, monkeypatch):
    monkeypatch.setattr(Experiment, "cohort", lambda self: cohort)
    experiment = open_experiment(tmp_path, cohort)
    experiment.manifest = replace(experiment.manifest, simulated=False)
    for controls, said in ((None, "not stated"), ("normal neurological findings",) * 2):
        bundle = load_bundle(train_bundle(experiment, "radiomics-logistic", tmp_path / "bundle", controls=controls))
        settings = bundle.settings
        assert settings.cohort.kind_of_controls == said and settings.name == "radiomics-logistic, sublentiform"
        assert not settings.demonstration and "(internal)" in settings.figures_describe
        assert len(settings.limits) == 4 and not any("simulated" in limit for limit in settings.limits)
        card = bundle_card(tmp_path / "bundle")
        assert f"19 controls ({said})" in card and re.search(r"- field strength: [\d.]+ to [\d.]+ T\n", card)


def test_a_folder_that_holds_other_files_is_refused_before_any_work(tmp_path, cohort):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.docx").write_text("")
    experiment = open_experiment(tmp_path, cohort)
    with pytest.raises(BadInput, match="other files"):
        train_bundle(experiment, "radiomics-logistic", tmp_path / "bundle")
    assert not (tmp_path / "folds").exists()
