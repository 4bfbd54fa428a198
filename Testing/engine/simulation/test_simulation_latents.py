"""Latents, the physics of CSF's signal, and the oracle: no images."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp
from simulation_quick import draw_cohort

from cnsifusion.errors import BadInput
from cnsifusion.simulation import SimulationSettings, SiteProtocol, draw_latents, log_likelihood_ratio, oracle_auc
from cnsifusion.simulation.physics import csf_effect, tissue_signal


def rows(settings, each=1200, seed=3):
    return draw_cohort(each, each, seed, settings)


@pytest.fixture(scope="module")
def default():
    return rows(SimulationSettings())


def test_sign_of_the_csf_effect_follows_from_repetition_and_echo_time():
    short, long = (csf_effect(0.03, 0.3, 3.0, *times) for times in ((3500, 80), (12000, 250)))
    assert short > 0.02
    assert long < -0.02
    assert csf_effect(0.0, 0.0, 3.0, 4500, 95) == pytest.approx(0, abs=1e-12)
    # Against the closed form of the first-order change, for a small dose.
    t1, dose = 4.3, 1e-4
    first = dose * (4.5 * np.exp(-4.5 / t1) / (1 - np.exp(-4.5 / t1))) - 10 * dose * 0.095
    assert csf_effect(dose, 10 * dose, 3.0, 4500, 95) == pytest.approx(first, rel=1e-3)


def test_t2_weighting_orders_the_tissues():
    signal = {n: tissue_signal(n, 3.0, 4500, 95) for n in ("csf", "grey", "white", "putamen", "pallidum", "bone")}
    order = sorted(signal, key=signal.get, reverse=True)
    assert order == ["csf", "grey", "putamen", "white", "pallidum", "bone"]


def test_same_seed_same_latents_and_the_label_enters_only_through_the_effect():
    settings = SimulationSettings()
    assert draw_latents(7, True, settings) == draw_latents(7, True, settings)
    assert draw_latents(7, True, settings) != draw_latents(8, True, settings)
    blind = SimulationSettings(effect="none")
    for seed in range(50):
        assert replace(draw_latents(seed, True, blind), infected=False) == draw_latents(seed, False, blind)
        infected, control = (draw_latents(seed, label, settings) for label in (True, False))
        for name in ("age", "sex", "site", "high_burden", "noise_factor", "sharpness_factor"):
            assert getattr(infected, name) == getattr(control, name)
        assert infected.calibre >= control.calibre
        assert infected.count_left >= control.count_left


def test_ranges_and_shares_of_the_protocol(default):
    infected = [r for r in default if r["infected"]]
    controls = [r for r in default if not r["infected"]]
    effects = np.array([r["csf_effect"] for r in infected])
    assert effects.min() >= -0.03 and effects.max() <= 0.08
    assert effects.min() < 0 < effects.max()
    assert np.mean(effects == 0) == pytest.approx(0.4, abs=0.04)
    assert np.mean([r["severity"] == 0 for r in infected]) == pytest.approx(0.25, abs=0.04)
    assert all(r["severity"] == 0 == r["csf_effect"] for r in controls)
    assert np.mean([r["high_burden"] for r in controls]) == pytest.approx(0.2, abs=0.04)
    burdened = np.mean([r["age"] for r in controls if r["high_burden"]])
    assert burdened > np.mean([r["age"] for r in controls if not r["high_burden"]]) + 5
    assert np.percentile([r["halo"] for r in infected], 95) < 0.05


def test_classes_overlap_in_every_observable(default):
    for name in ("csf_deviation", "calibre", "halo", "edge", "oedema", "count_left", "count_right"):
        infected, control = ([r[name] for r in default if r["infected"] == label] for label in (True, False))
        assert ks_2samp(infected, control).statistic < 0.65, name
        assert min(infected) < np.percentile(control, 25), name
        assert max(control) > np.percentile(infected, 75), name


@pytest.mark.parametrize("pattern", ["fine", "coarse", "spatial"])
def test_oracle_is_tuned_to_080_090(pattern):
    settings = SimulationSettings(pattern=pattern)
    assert 0.80 <= oracle_auc(rows(settings, 2000), settings) <= 0.90


def test_oracle_is_blind_where_there_is_nothing_to_see():
    blind = SimulationSettings(effect="none")
    assert oracle_auc(rows(blind, 200), blind) == 0.5
    weak = SimulationSettings(effect="ventricles")
    assert 0.5 < oracle_auc(rows(weak), weak) < 0.65
    off = SimulationSettings(strength=0.0)
    assert oracle_auc(rows(off, 200), off) == 0.5


@pytest.mark.parametrize("pattern", ["fine", "coarse", "spatial"])
def test_oracle_is_calibrated_so_its_densities_are_the_sampler_s(pattern):
    """If the likelihoods were not those the latents are drawn from, posterior and frequency would part."""
    settings = SimulationSettings(pattern=pattern)
    latents = rows(settings, 2500, seed=11)
    posterior = 1 / (1 + np.exp(-log_likelihood_ratio(latents, settings)))
    truth = np.array([r["infected"] for r in latents], float)
    for low, high in ((0, 0.25), (0.25, 0.4), (0.4, 0.6), (0.6, 0.85), (0.85, 1.01)):
        here = (posterior >= low) & (posterior < high)
        if here.sum() > 80:
            error = 3.5 * np.sqrt(0.25 / here.sum())
            assert truth[here].mean() == pytest.approx(posterior[here].mean(), abs=error), (low, high)


def test_no_single_latent_beats_the_oracle(default):
    oracle = oracle_auc(default)
    for name in ("csf_deviation", "calibre", "halo", "edge", "count_left"):
        infected, control = (np.array([r[name] for r in default if r["infected"] == v]) for v in (True, False))
        auc = np.mean(infected[:, None] > control) + 0.5 * np.mean(infected[:, None] == control)
        assert auc < oracle, name


def test_confounders_link_label_and_nuisance_only_when_asked(default):
    linked = rows(SimulationSettings(effect="none", confounders=("noise", "sharpness", "site", "age")), 400)
    for name in ("noise_factor", "sharpness_factor", "site", "age"):
        for latents, apart in ((linked, True), (default, False)):
            groups = [[r[name] for r in latents if r["infected"] == label] for label in (True, False)]
            assert (ks_2samp(*groups).pvalue < 1e-4) == apart, name


def test_settings_are_checked():
    with pytest.raises(BadInput, match="effect must be one of"):
        SimulationSettings(effect="stamp")
    with pytest.raises(BadInput, match="strength must lie between"):
        SimulationSettings(strength=-1)
    with pytest.raises(BadInput, match="strength must be a number"):
        SimulationSettings(strength=float("nan"))
    with pytest.raises(BadInput, match="acquired_pixel must not be smaller"):
        SimulationSettings(sites=(SiteProtocol("x", pixel=1.0, acquired_pixel=0.5),))


def test_the_oracle_needs_both_classes(default):
    with pytest.raises(BadInput, match="infected patients and controls"):
        oracle_auc([r for r in default if r["infected"]])
