"""One simulated patient: geometry, truth and image together."""

from dataclasses import replace

import numpy as np
import pytest
from simulation_quick import COARSE, quick

from cnsifusion.imaging import check_image
from cnsifusion.roi.anatomy import locate, place
from cnsifusion.roi.names import PVS_LEFT, PVS_RIGHT, SUBLENTIFORM_LEFT, SUBLENTIFORM_RIGHT, VENTRICLES
from cnsifusion.simulation import SiteProtocol, simulate_patient
from cnsifusion.simulation.acquisition import acquire
from cnsifusion.simulation.pose import draw_pose

SEED = 5  # an infected patient with foci on both sides and an effect on CSF


@pytest.fixture(scope="module")
def infected():
    return simulate_patient(SEED, True, quick())


@pytest.fixture(scope="module")
def control():
    return simulate_patient(SEED, False, quick())


def test_the_same_arguments_give_the_same_bits(infected):
    again = simulate_patient(SEED, True, quick())
    np.testing.assert_array_equal(again.volume.array, infected.volume.array)
    assert again.latents == infected.latents
    for name, mask in infected.truth.masks.items():
        np.testing.assert_array_equal(again.truth.masks[name], mask)


def test_without_an_effect_the_image_is_blind_to_the_label():
    blind = quick(effect="none")
    pair = [simulate_patient(9, label, blind).volume for label in (True, False)]
    np.testing.assert_array_equal(pair[0].array, pair[1].array)


def test_a_sublentiform_effect_stays_in_the_sublentiform_region():
    settings = quick(effect="sublentiform", sites=(replace(COARSE, noise=0.0),))
    with_effect, without = (simulate_patient(SEED, label, settings) for label in (True, False))
    changed = np.abs(with_effect.volume.array - without.volume.array) > 6
    region = with_effect.truth.masks[SUBLENTIFORM_LEFT] | with_effect.truth.masks[SUBLENTIFORM_RIGHT]
    assert changed.any()
    k, j, i = np.argwhere(changed).T
    box = np.argwhere(region)
    margin = (2, 25, 25)  # slices and pixels: foci reach into the lentiform nucleus, the zone fades out over 8 mm
    for values, axis in ((k, 0), (j, 1), (i, 2)):
        assert box[:, axis].min() - margin[axis] <= values.min()
        assert values.max() <= box[:, axis].max() + margin[axis]


def test_the_csf_effect_shows_in_the_ventricles_with_the_sign_of_the_physics():
    quiet = replace(COARSE, noise=0.0)
    brighter = replace(quiet, name="S", repetition_time=3000, echo_time=80)
    darker = replace(quiet, name="L", repetition_time=12000, echo_time=300)
    for site, sign in ((brighter, 1), (darker, -1)):
        settings = quick(effect="ventricles", csf_no_effect_fraction=0.0, csf_r2_to_r1=(8.0, 8.0), sites=(site,))
        settings = replace(settings, csf_effect=(-0.2, 0.2))
        one, other = (simulate_patient(SEED, label, settings) for label in (True, False))
        core = one.truth.masks[VENTRICLES] & (other.volume.array > np.percentile(other.volume.array, 97))
        ratio = float(np.mean(one.volume.array[core]) / np.mean(other.volume.array[core])) - 1
        assert np.sign(ratio) == sign
        deviation = other.latents["csf_deviation"]  # the effect adds to the person's own deviation
        assert ratio == pytest.approx(one.latents["csf_effect"] / (1 + deviation), abs=0.006)


def test_truth_and_image_agree(infected):
    image, masks = infected.volume.array, infected.truth.masks
    mean = {name: float(image[mask].mean()) for name, mask in {**masks, **infected.structures}.items()}
    white = COARSE.intensity_scale
    assert mean[VENTRICLES] > 1.8 * white
    assert mean[PVS_LEFT] > 1.15 * mean[SUBLENTIFORM_LEFT]
    assert mean["pallidum_left"] < mean["putamen_left"] < mean[VENTRICLES] / 1.5
    for side in ("left", "right"):
        assert 0.5 < masks[f"Sub-lentiform {side}"].sum() * infected.volume.grid.voxel_volume / 1000 < 3.5
        assert 3.0 < infected.structures[f"putamen_{side}"].sum() * infected.volume.grid.voxel_volume / 1000 < 11
    assert set(np.unique(infected.truth.parts)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(infected.truth.parts > 0, masks[VENTRICLES])


def test_sides_are_the_patient_s_own_and_the_region_lies_under_the_lentiform(infected):
    grid, plane = infected.volume.grid, infected.truth.midplane

    def centre(mask):
        return grid.to_lps(np.argwhere(mask)[:, ::-1].mean(0))

    for side, sign in (("left", 1), ("right", -1)):
        region = infected.truth.masks[f"Sub-lentiform {side}"]
        putamen = infected.structures[f"putamen_{side}"]
        assert 9 < sign * plane.distance(centre(region)) < 30
        assert sign * plane.distance(centre(putamen)) > 15
        assert centre(region)[2] < centre(putamen)[2] - 5
        assert all(f.side != side or sign * plane.distance(np.array(f.lps)) > 0 for f in infected.truth.foci)


def test_every_focus_is_listed_with_its_true_size(infected):
    foci, latents = infected.truth.foci, infected.latents
    assert len(foci) == latents["count_left"] + latents["count_right"] > 0
    for focus in foci:
        assert 0.4 <= focus.diameter_mm <= 3.0
        k, j, i = focus.voxels[0]
        assert abs(k - focus.ijk[2]) <= 1 and np.hypot(i - focus.ijk[0], j - focus.ijk[1]) < 12
    mean = np.mean([f.diameter_mm for f in foci])
    assert mean == pytest.approx(latents["calibre"], rel=0.2)
    drawn = infected.truth.masks[PVS_LEFT] | infected.truth.masks[PVS_RIGHT]
    grown = infected.volume.array[drawn].mean()
    assert grown > np.median(infected.volume.array[infected.structures["putamen_left"]]) * 1.2


def test_the_input_check_takes_it_for_an_axial_t2(infected, control):
    for patient in (infected, control):
        assert check_image(patient.volume).verdict == "ok"
        assert patient.volume.array.dtype == np.float32
        assert np.array_equal(patient.volume.array, np.rint(patient.volume.array))


def test_pose_maps_agree_and_invert():
    for seed in range(3):
        pose = draw_pose(np.random.default_rng(seed), COARSE, 15.0, True)
        ijk = np.array([[20.0, 40.0, 3.0], [120.0, 150.0, 10.5], [190.0, 90.0, 20.0]])
        slow = pose.to_template(pose.grid.to_lps(ijk))
        for n, (i, j, k) in enumerate(ijk):
            fast = pose.block(np.array([i]), np.array([j]), np.array([k]))[0, 0, 0]
            np.testing.assert_allclose(fast, slow[n], atol=2e-3)
        np.testing.assert_allclose(pose.to_template(pose.from_template(slow)), slow, atol=0.05)
        relative = pose.head.T @ pose.grid.matrix
        assert np.degrees(np.arccos(np.clip((np.trace(relative) - 1) / 2, -1, 1))) <= 15.01


def test_noise_is_rician_and_point_spread_keeps_the_signal():
    grid = draw_pose(np.random.default_rng(0), COARSE, 0.0, True).grid
    site = SiteProtocol("N", pixel=0.9, acquired_pixel=1.2, noise=0.05, bias=0.0, intensity_scale=10000)
    ideal = np.zeros(grid.shape, np.float32)
    ideal[:, 60:180, 60:160] = 1.0
    even = [np.ones(n, np.float32) for n in grid.shape]
    stored = acquire(ideal, even, site, site.noise, 1.2, np.random.default_rng(1))
    bright, dark = stored[:, 80:160, 80:140], stored[:, 10:40, 10:40]
    white = bright.mean()
    assert bright.std() / white == pytest.approx(0.05, rel=0.08)
    # Rayleigh background: mean = sigma sqrt(pi/2), SD = sigma sqrt(2 - pi/2)
    assert dark.mean() / white == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.08)
    assert dark.std() / white == pytest.approx(0.05 * np.sqrt(2 - np.pi / 2), rel=0.08)
    edge = acquire(ideal, even, site, 0.0, 1.2, np.random.default_rng(1))[3, 120, 50:70]
    blurred = acquire(ideal, even, site, 0.0, 2.4, np.random.default_rng(1))[3, 120, 50:70]
    assert np.diff(blurred).max() < 0.7 * np.diff(edge).max()


def test_the_deep_view_is_the_same_head_seen_through_a_smaller_window(infected):
    """Same latents, truth and signal where both look; and its placement is where the search would have put it."""
    whole, deep = infected, simulate_patient(SEED, True, quick(), "deep")
    assert deep.latents == whole.latents and deep.volume.array.size < whole.volume.array.size / 6
    corner = np.rint(whole.volume.grid.to_ijk(deep.volume.grid.origin)).astype(int)[::-1]
    window = tuple(slice(a, a + n) for a, n in zip(corner, deep.volume.grid.shape))
    for name, mask in whole.truth.masks.items():
        if name != VENTRICLES:
            assert mask.sum() == mask[window].sum() > 0
            assert (mask[window] ^ deep.truth.masks[name]).sum() <= 0.05 * mask.sum()  # the grid's origin is rounded
    inner = tuple(slice(2, -2) for _ in range(3))  # the point spread wraps around at the window's edge
    a, b = (v[inner].ravel() for v in (whole.volume.array[window], deep.volume.array))
    assert np.corrcoef(a, b)[0, 1] > 0.97 and abs(np.median(a - b)) < 0.01 * np.median(a)
    anatomy = place(deep.volume, deep.placement)
    brain = locate(whole.volume).brain[window]
    assert (anatomy.brain == brain).mean() > 0.93
    values = deep.volume.array[anatomy.white_matter]
    assert anatomy.white_matter.sum() > 500 and values.std() < 0.1 * values.mean()
