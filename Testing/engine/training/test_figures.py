"""Figures of merit, calibration and selection against definitions, scikit-learn and worked examples."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cnsifusion.errors import BadInput
from cnsifusion.training.calibration import (
    calibration_line,
    fit_platt,
    logistic_fit,
    sigmoid,
    threshold_at_sensitivity,
    threshold_youden,
)
from cnsifusion.training.cases import shifted
from cnsifusion.training.folds import patient_folds, permuted, site_folds
from cnsifusion.training.metrics import (
    Predictions,
    _interval,
    auc,
    bootstrap,
    decision_figures,
    decisions,
    instance_figures,
    net_benefit,
    paired_auc_difference,
    patient_figures,
)
from cnsifusion.training.selection import candidates, frequency, icc21, l1, mrmr, select, stability
from cnsifusion.training.tables import scale_ranking, site_metrics


@pytest.fixture
def random():
    return np.random.default_rng(7)


def test_auc_equals_scikit_learn_with_ties(random):
    labels = random.integers(0, 2, 60)
    score = np.round(random.normal(size=60) + labels, 1)
    assert auc(score, labels) == pytest.approx(roc_auc_score(labels, score))
    assert np.isnan(auc(score, np.ones(60)))


def test_icc_of_shrout_and_fleiss():
    """The worked example of Shrout and Fleiss (1979), table 2: ICC(2,1) = 0.29."""
    table = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    assert icc21(table.T[:, :, None])[0] == pytest.approx(0.2898, abs=1e-3)


def test_a_shift_by_part_of_a_slice_moves_a_ramp_by_that_part():
    """And never by a whole slice, which would be other anatomy."""
    ramp = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 2, 3), np.float32)
    assert np.allclose(shifted(ramp)[:, 0, 0], [0.25, 1.25, 2.25, 2.75])
    assert np.array_equal(shifted(ramp[:1]), ramp[:1])


def test_logistic_fit_equals_scikit_learn(random):
    x = random.normal(size=(80, 2))
    y = (x[:, 0] + random.normal(size=80) > 0).astype(float)
    reference = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(x, y)
    beta = logistic_fit(np.column_stack([np.ones(80), x]), y)
    assert np.allclose(beta, [reference.intercept_[0], *reference.coef_[0]], atol=1e-3)


def test_platt_undoes_a_known_distortion(random):
    truth = random.normal(size=4000) * 2
    labels = (random.random(4000) < sigmoid(truth)).astype(int)
    platt = fit_platt((truth - 1.0) / 3.0, labels)
    assert platt.slope == pytest.approx(3, rel=0.1) and platt.intercept == pytest.approx(1, abs=0.15)
    slope, intercept = calibration_line(platt((truth - 1) / 3), labels)
    assert slope == pytest.approx(1, abs=0.05) and intercept == pytest.approx(0, abs=0.02)


def test_a_score_against_the_label_is_not_turned_round():
    labels = np.array([0, 0, 0, 1, 1, 1])
    platt = fit_platt(-labels.astype(float), labels)
    assert platt.slope > 0
    assert np.allclose(platt(np.array([-1.0, 0.0])), 0.5, atol=1e-3)


def test_calibration_line_sees_overconfidence(random):
    truth = random.normal(size=4000)
    labels = (random.random(4000) < sigmoid(truth)).astype(int)
    slope, intercept = calibration_line(sigmoid(2 * truth + 1), labels)
    assert slope == pytest.approx(0.5, abs=0.06) and intercept < -0.5
    assert sigmoid(2 * truth + 1 + intercept).mean() == pytest.approx(labels.mean(), abs=1e-9)


def test_thresholds():
    probability = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    labels = np.array([0, 0, 1, 0, 1, 1, 1, 1])
    assert threshold_at_sensitivity(probability, labels, 1.0) == 0.3
    assert threshold_at_sensitivity(probability, labels, 0.8) == 0.5
    assert threshold_at_sensitivity(np.arange(100) / 100, np.ones(100), 0.55) == 0.45  # 0.55 * 100 is 55 and a bit
    assert threshold_youden(probability, labels) == pytest.approx(0.45)


def make_predictions(probability, labels, instances):
    owner = np.repeat(np.arange(len(labels)), [len(i) for i in instances])
    count = len(labels)
    return Predictions(
        np.arange(count), np.array(labels), np.arange(count) // 2 % 2, np.array(probability), np.array(probability),
        np.full(count, 0.5), owner, np.concatenate(instances), np.arange(len(owner)),
    )  # fmt: skip


@pytest.fixture
def four():
    instances = [np.array([0.9, 0.8]), np.array([0.9, 0.1, 0.1]), np.array([0.1, 0.2]), np.array([0.6, 0.4])]
    return make_predictions([0.85, 0.3, 0.15, 0.5], [1, 1, 0, 0], instances)


@pytest.mark.parametrize(
    ("strategy", "expected"), [("mean", [1, 0, 0, 1]), ("majority", [1, 0, 0, 1]), ("any", [1, 1, 0, 1]),
                               ("strict", [1, -1, 0, -1])],
)  # fmt: skip
def test_strategies(four, strategy, expected):
    assert decisions(four, strategy).tolist() == expected


def test_an_indeterminate_patient_is_an_error(four):
    figures = patient_figures(four, "strict")
    assert figures["sensitivity"] == 0.5 and figures["specificity"] == 0.5
    assert figures["indeterminate"] == 0.5 and figures["accuracy_determinate"] == 1.0
    assert figures["instances_per_patient"] == 9 / 4


def test_figures_of_a_two_by_two_table():
    decision = np.array([1] * 8 + [0] * 2 + [1] * 3 + [0] * 7)
    figures = decision_figures(decision, np.array([1] * 10 + [0] * 10))
    assert figures["sensitivity"] == 0.8 and figures["specificity"] == 0.7
    assert figures["precision"] == pytest.approx(8 / 11) and figures["f1"] == pytest.approx(16 / 21)
    assert figures["lr_plus"] == pytest.approx(8 / 3) and figures["lr_minus"] == pytest.approx(0.2 / 0.7)


def test_squared_errors_and_figures_over_instances(four):
    """By hand: three of five infected instances at or above 0.5, three of four others below."""
    assert patient_figures(four, "mean")["brier"] == pytest.approx((0.15**2 + 0.7**2 + 0.15**2 + 0.5**2) / 4)
    found = instance_figures(four)
    assert (found["sensitivity"], found["specificity"], found["accuracy"]) == (3 / 5, 3 / 4, 6 / 9)
    assert found["auc"] == pytest.approx((4 + 4 + 4 + 0.5 + 0.5) / 20)
    assert found["brier"] == pytest.approx(np.mean([0.01, 0.04, 0.01, 0.81, 0.81, 0.01, 0.04, 0.36, 0.16]))


def test_an_interval_leaves_two_and_a_half_percent_on_either_side():
    assert _interval([*np.arange(1001) / 1000, float("nan")]) == pytest.approx((0.025, 0.975))
    assert np.isfinite(_interval([1.0, float("nan")])).all() and np.isnan(_interval([1.0] + [float("nan")] * 2)).all()


def test_resamples_keep_the_number_of_infected():
    drawn = make_predictions([0.5] * 8, [1] * 2 + [0] * 6, [np.array([0.5])] * 8)
    assert bootstrap(drawn, lambda q: {"share": q.labels.mean()}, 20, 0)["share"] == (0.25, 0.25)


def test_bootstrap_covers_and_narrows(random):
    def limits(count, resamples):
        labels = np.arange(count) % 2
        p = 0.5 + 0.2 * (labels - 0.5) + random.normal(0, 0.15, count)
        drawn = make_predictions(p, labels, [np.array([v]) for v in p])
        return bootstrap(drawn, lambda q: {"auc": auc(q.probability, q.labels)}, resamples, 0)["auc"]

    small = np.array([limits(40, 60) for _ in range(30)])
    covered = (small[:, 0] < 0.827) & (small[:, 1] > 0.827)  # Phi(0.2 / (0.15 sqrt 2)) = 0.827
    assert covered.mean() >= 0.8
    low, high = limits(400, 100)
    assert low < 0.827 < high and high - low < 0.6 * np.mean(small[:, 1] - small[:, 0])


def test_paired_difference_of_a_model_with_itself_is_zero(random):
    labels = np.arange(40) % 2
    a = make_predictions(random.random(40), labels, [np.array([0.5])] * 40)
    shuffled = a.of(random.permutation(40))
    value, low, high = paired_auc_difference(a, shuffled, 50, 0)
    assert (value, low, high) == (0, 0, 0)


def test_paired_difference_is_the_first_models_gain(random):
    labels, instances = np.arange(40) % 2, [np.array([0.5])] * 40
    told, blind = make_predictions(labels * 1.0, labels, instances), make_predictions([0.5] * 40, labels, instances)
    assert paired_auc_difference(told, blind, 20, 0) == (0.5, 0.5, 0.5)
    assert paired_auc_difference(blind, told, 20, 0) == (-0.5, -0.5, -0.5)
    noisy = make_predictions(labels + random.normal(size=40), labels, instances)
    value, low, high = paired_auc_difference(noisy, blind, 200, 0)
    assert low < value < high


def test_net_benefit_at_the_training_prevalence():
    probability, labels = np.array([0.9, 0.6, 0.4, 0.1]), np.array([1, 0, 1, 0])
    assert net_benefit(probability, labels, 0.5, 0.5) == pytest.approx(0.25 - 0.25)
    assert net_benefit(np.array([0.5, 0.1]), np.array([1, 0]), 0.5, 0.5) == 0.5  # at the threshold is above it
    assert net_benefit(probability, labels, 0.5, 0.2) == pytest.approx(0.5 - 0.25 * 0.25)


def test_net_benefit_where_infection_is_rarer_or_commoner_than_in_training():
    """Odds move by Bayes' rule: 9 to 1 among as many infected as not is 1 to 1 where one in ten is infected."""
    probability, labels = np.array([0.9, 0.6, 0.4, 0.1]), np.array([1, 0, 1, 0])
    assert net_benefit(probability, labels, 0.1, 0.51) == 0
    assert net_benefit(probability, labels, 0.1, 0.49) == pytest.approx(0.5 * 0.1)
    assert net_benefit(probability, labels, 0.1, 0.1) == pytest.approx(0.5 * 0.1 - 0.5 * 0.9 / 9)
    one_in_four = np.array([1, 0, 0, 0])  # 0.4 is 2 to 3, and 2 to 1 where half are infected
    assert net_benefit(probability, one_in_four, 0.5, 0.66) == pytest.approx(0.5 - 0.5 * 2 / 3 * 0.66 / 0.34)
    assert net_benefit(probability, one_in_four, 0.5, 0.67) == pytest.approx(0.5 - 0.5 / 3 * 0.67 / 0.33)


def test_platts_targets_keep_a_perfect_score_from_certainty():
    """Ten patients of each class, told apart without an error: (n + 1) / (n + 2), not 1 (Platt 1999)."""
    found = fit_platt(np.repeat([-1.0, 1.0], 10), np.repeat([0, 1], 10))
    assert found(np.array([-1.0, 1.0])) == pytest.approx([1 / 12, 11 / 12], abs=1e-6)


def test_folds_are_stratified_and_seeded():
    labels = np.array([0, 1] * 13)
    fold = patient_folds(labels, 5, 3)
    assert all(abs(labels[fold == f].mean() - 0.5) < 0.11 for f in range(5))
    assert np.array_equal(fold, patient_folds(labels, 5, 3))
    assert not np.array_equal(fold, patient_folds(labels, 5, 4))
    assert permuted(labels, 1).sum() == 13 and not np.array_equal(permuted(labels, 1), labels)


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        (["A"] * 26, None),
        ([""] * 26, None),
        (["A", "B"] * 7 + ["B"] * 12, "A"),
        (["A"] * 13 + ["B"] * 12 + [""], "no site"),
        (["A"] * 18 + ["B"] * 8, "without A"),
        (["A"] * 13 + ["B"] * 13, ""),
        (["A"] * 16 + ["B"] * 10, ""),  # just enough remain without A
    ],
)
def test_sites_are_left_out_one_by_one_or_it_is_said_why_not(sites, said):
    labels = np.array([0, 1] * 13)
    if said:
        with pytest.raises(BadInput, match=said):
            site_folds(np.array(sites), labels, 5)
    else:
        found = site_folds(np.array(sites), labels, 5)
        assert found is None if said is None else found.tolist() == [site == "B" for site in sites]


def test_selectors_find_the_planted_feature(random):
    table = random.normal(size=(80, 30))
    labels = np.arange(80) % 2
    table[:, 7] += 2 * labels
    table[:, 8] = table[:, 7] + 0.01 * random.normal(size=80)  # its double: redundant
    assert mrmr(table, labels, 5)[0] in (7, 8)
    assert len({7, 8} & set(mrmr(table, labels, 2).tolist())) == 1
    assert {7, 8} & set(l1(table, labels, 3, 0).tolist())
    assert len(l1(table, labels, 3, 0)) <= 3


def test_unstable_and_shape_features_are_not_chosen(cohort):
    rows = np.arange(len(cohort.patient))
    assert stability(cohort, rows)[5] < 0.5 < stability(cohort, rows)[4]
    assert 5 not in candidates(cohort, rows, 0.5, False, 8)
    cohort.names[2] = "original_shape2D_Area"
    assert 2 not in candidates(cohort, rows, 0.5, False, 8)
    assert 2 in candidates(cohort, rows, 0.5, True, 8)
    steadiest = np.sort(np.argsort(-np.nan_to_num(stability(cohort, rows), nan=-1))[:3])
    assert np.array_equal(candidates(cohort, rows, 1.0, True, 3), steadiest)  # too few are stable enough
    for missing, kept in ((0, True), (1, False)):
        cohort.features[: len(rows) // 5 + missing, 4] = np.nan
        assert (4 in candidates(cohort, rows, 0.5, False, 8)) == kept


def test_how_often_features_were_chosen():
    chosen = [SimpleNamespace(columns=np.array(columns)) for columns in ([0, 2], [2])]
    assert frequency(chosen, 4).tolist() == [0.5, 0, 1, 0] and frequency([], 2).tolist() == [0, 0]


def test_stability_is_judged_where_a_feature_is_known(cohort):
    """A few patients with a coarser matrix lack some features: theirs are judged on the others, the rest on all."""
    rows = np.arange(len(cohort.patient))
    whole = stability(cohort, rows)
    cohort.features[12:, 4] = np.nan  # all but four patients
    cohort.features[:-2, 7] = np.nan
    partly = stability(cohort, rows)
    others = np.delete(np.arange(len(whole)), [4, 7])
    assert np.allclose(partly[others], whole[others], rtol=1e-12)
    assert np.isclose(partly[4], stability(cohort, rows[:12])[4], rtol=1e-12) and np.isnan(partly[7])


def test_a_missing_feature_does_not_tell_the_label(cohort):
    """Scales are ranked over the patients that show them: who lacks one scale is not a finding, nor a scale of 0.5."""
    cohort.features[:] = np.random.default_rng(1).normal(size=cohort.features.shape)
    cohort.features[np.ix_(cohort.labels[cohort.patient] == 0, [6])] = np.nan  # of the 1 mm scale
    cohort.features[:, [2, 7, 12, 17]] = np.nan  # all of the 2 mm scale
    table = scale_ranking(cohort, cohort.labels).set_index("scale_mm")
    assert table.loc[1.0, "best_auc"] < 0.9 and table.loc[1.0, "features"] == 3
    assert 2.0 not in table.index and 3.0 in table.index


def test_no_usable_feature_is_said(cohort):
    cohort.features[:] = np.nan
    with pytest.raises(BadInput, match="missing or constant"):
        candidates(cohort, np.arange(len(cohort.patient)), 0.5, False, 8)


def test_nothing_is_fitted_on_patients_outside(cohort):
    """Altering test patients' numbers changes no fitted parameter."""
    rows = np.flatnonzero(cohort.patient < 16)
    before = select(cohort, rows, "mrmr", 4, 0.5, False, 0)
    cohort.features[cohort.patient >= 16] = 1e6
    cohort.altered[:, cohort.patient >= 16] = -1e6
    after = select(cohort, rows, "mrmr", 4, 0.5, False, 0)
    for name in ("columns", "impute", "mean", "scale"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


def test_figures_by_site_name_the_site_that_was_left_out(random):
    site = np.array(["Basel", "Bern", "Chur"])[np.arange(30) % 3]
    labels = np.arange(30) // 3 % 2
    patients = random.permutation(30)
    shares = random.random(30)
    p = Predictions(
        patients, labels[patients], patients % 3, shares, shares, np.full(30, 0.5), np.arange(30), shares, np.arange(30)
    )
    table = site_metrics(SimpleNamespace(site=site), {"one": p}).query("strategy == 'mean'")
    for number, name in enumerate(("Basel", "Bern", "Chur")):
        (row,) = table[table["site"] == name].to_dict("records")
        inside = patients % 3 == number
        assert row["fold"] == str(number) and row["auc"] == pytest.approx(auc(shares[inside], labels[patients][inside]))
    assert set(table[table["site"] == ""]["fold"]) == {"all", "mean", "sd"}
    assert list(site_metrics(SimpleNamespace(site=site), {}).columns[:4]) == ["model", "strategy", "site", "fold"]
