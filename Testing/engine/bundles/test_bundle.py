"""A sound bundle: the same numbers as torch, exact contributions, score and range."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cnsifusion.bundles import bundle_card, load_bundle  # noqa: E402
from cnsifusion.errors import BadInput, BundleError  # noqa: E402

NAMES = [f"original_firstorder_F{n}" for n in range(6)]


@pytest.fixture
def bundle(made):
    return load_bundle(made)


@pytest.fixture
def inputs():
    random = np.random.default_rng(5)
    patches = random.normal(size=(20, 2, 32, 32)).astype(np.float32)
    patches[:, 1] = random.random((20, 32, 32)) > 0.6
    return patches, random.normal(size=(20, 6)) * 3


def test_it_predicts_what_torch_predicts(network, bundle, inputs):
    patches, features = inputs
    prediction = bundle.predict(patches, features, NAMES)
    with torch.no_grad():
        logit, pooled = network[0](
            torch.from_numpy(patches), torch.from_numpy(((features - 1) / 2).astype(np.float32))
        )
    assert np.abs(prediction.logit - logit.numpy()).max() < 1e-4
    assert np.abs(prediction.pooled - pooled.numpy()).max() < 1e-4


def test_contributions_sum_to_the_log_odds(bundle, inputs):
    prediction = bundle.predict(*inputs, NAMES)
    exact = bundle._head.logits(prediction.pooled, prediction.features).mean(axis=1)
    assert exact == pytest.approx(prediction.logit.mean(axis=1), abs=1e-5)
    for row, parts in enumerate(bundle.contributions(prediction)):
        total = parts.baseline + parts.network + sum(parts.features.values())
        assert total == pytest.approx(exact[row], abs=1e-9)
        assert set(parts.features) == set(NAMES)


def test_contributions_are_the_integrated_gradients(bundle, inputs):
    """The exact path integral equals the limit of many small steps."""
    prediction = bundle.predict(*inputs, NAMES)
    head = bundle._head
    end_p, end_x = prediction.pooled[0], prediction.features[0]
    base_p = np.array(bundle.settings.baseline_pooled)
    exact = bundle.contributions(prediction)[0]
    steps = 20000
    times = (np.arange(steps) + 0.5) / steps
    found = np.zeros(6)
    for column in range(6):
        shift = np.zeros(6)
        shift[column] = 1e-6
        pooled = base_p + times[:, None, None] * (end_p - base_p)
        features = times[:, None] * end_x
        slope = (head.logits(pooled, features + shift) - head.logits(pooled, features - shift)) / 2e-6
        found[column] = slope.mean() * end_x[column]
    assert np.allclose(found, list(exact.features.values()), atol=2e-4)


def test_a_missing_feature_value_takes_the_training_median(bundle, inputs):
    patches, features = inputs
    missing, filled = features.copy(), features.copy()
    missing[:, 2], filled[:, 2] = np.nan, 0.5
    assert np.array_equal(bundle.predict(patches, missing, NAMES).logit, bundle.predict(patches, filled, NAMES).logit)


def test_columns_are_taken_by_name(bundle, inputs):
    patches, features = inputs
    order = [3, 1, 0, 5, 4, 2]
    names = [NAMES[i] for i in order] + ["another"]
    wide = np.column_stack([features[:, order], np.ones(20)])
    assert np.array_equal(bundle.predict(patches, wide, names).logit, bundle.predict(patches, features, NAMES).logit)


def test_the_patient_score_is_the_calibrated_mean_with_the_heads_range(bundle):
    logit = np.array([[0.0, 1.0, -1.0], [2.0, 1.0, 0.0]])
    score = bundle.patient_score(logit)
    expected = 1 / (1 + np.exp(-(1.5 * np.array([1.0, 1.0, -0.5]) - 0.2)))
    assert score.low == pytest.approx(expected.min()) and score.high == pytest.approx(expected.max())
    assert score.probability == pytest.approx(1 / (1 + np.exp(-(1.5 * 0.5 - 0.2))))


def test_what_is_out_of_range_is_said(bundle, inputs):
    patches, features = inputs
    features[:] = 0
    features[4, 3] = 40
    outside = bundle.predict(patches, features, NAMES).out_of_range
    assert outside[4] == [NAMES[3]] and outside[0] == []
    sentences = bundle.out_of_range({"pixel_mm": 0.9})
    assert sentences == ["Pixel of 0.9 mm lies outside the training range (0.4 to 0.6 mm)."]
    assert bundle.out_of_range({"pixel_mm": 0.5, "other": 1.0}) == []
    assert bundle.percentile(NAMES[0], 0.0) == 50 and bundle.percentile(NAMES[0], 9.0) == 100


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda p, f, n: (p[:, :1], f, n), BadInput),
        (lambda p, f, n: (None, f, n), BadInput),
        (lambda p, f, n: (np.where(p > 3, np.nan, p), f, n), BadInput),
        (lambda p, f, n: (p, np.where(f > 3, np.inf, f), n), BadInput),
        (lambda p, f, n: (p, f[:, :5], n), BadInput),
        (lambda p, f, n: (p, f[:, :5], n[:5]), BundleError),
        (lambda p, f, n: (p[:0], f[:0], n), BadInput),
    ],
)
def test_wrong_inputs_are_refused(bundle, inputs, change, error):
    patches, features = inputs
    features[0, 0] = 9
    with pytest.raises(error):
        bundle.predict(*change(patches, features, NAMES))


def test_the_card_says_what_it_is(made):
    card = bundle_card(made)
    figures = ("40 infected, 60 controls", "0.700 to 0.900", "- pixel: 0.4 to 0.6 mm")
    for words in ("DEMONSTRATION", "simulated", "Research use only", *figures):
        assert words in card
