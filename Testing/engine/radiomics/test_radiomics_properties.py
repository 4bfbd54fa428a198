"""What must hold for any image and region, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from radiomics_cases import IDENTITY, discs, image, solid

from cnsifusion.errors import BadInput
from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.radiomics import RadiomicsSettings, RegionMask, extract
from cnsifusion.radiomics.discretise import MAX_LEVELS, bin_edges, grey_levels
from cnsifusion.radiomics.log import kernel, too_small
from cnsifusion.radiomics.settings import TEXTURE_CLASSES

WIDTH = 8.0
PLAIN = RadiomicsSettings(log_sigmas_mm=(), bin_width={"original": WIDTH})
SPATIAL = RadiomicsSettings(log_sigmas_mm=(), bin_width={"original": WIDTH}, force_2d=False)
quick = settings(max_examples=25, deadline=None)


def textures(table):
    """The columns that depend on grey levels alone."""
    kinds = {*TEXTURE_CLASSES}
    names = [n for n in table.names if n.split("_")[1] in kinds or n.endswith(("_Entropy", "_Uniformity"))]
    return table.columns(names)


@strategies.composite
def cases(draw):
    """A small image of whole numbers (so that no sum rounds) and a random region in it."""
    shape = tuple(draw(strategies.tuples(*[strategies.integers(3, n) for n in (5, 9, 11)])))
    rng = np.random.default_rng(draw(strategies.integers(0, 2**32 - 1)))
    array = rng.integers(-100, 100, shape).astype(np.float32)
    array = np.sort(array, axis=draw(strategies.integers(0, 2)))  # structure, so that runs and zones are long
    mask = rng.random(shape) < draw(strategies.floats(0.3, 1.0))
    mask[:2, :2, :2] = True
    spacing = draw(strategies.tuples(*[strategies.sampled_from([0.5, 1.0, 2.5])] * 3))
    return Volume(array, Grid(shape[::-1], spacing, (0.0, 0.0, 0.0), IDENTITY)), RegionMask("r", mask)


def with_array(volume, array):
    return Volume(np.ascontiguousarray(array), volume.grid)


@quick
@given(cases(), strategies.integers(-50, 50))
def test_whole_bins_of_shift_leave_textures_alone_and_move_the_mean(case, bins):
    volume, region = case
    before = extract(volume, [region], SPATIAL)
    after = extract(with_array(volume, volume.array + np.float32(bins * WIDTH)), [region], SPATIAL)
    np.testing.assert_allclose(textures(after), textures(before), rtol=1e-12)
    moved = after.column("original_firstorder_Mean") - before.column("original_firstorder_Mean")
    np.testing.assert_allclose(moved, bins * WIDTH, atol=1e-9)


@quick
@given(cases(), strategies.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_scaling_image_and_bin_width_together_leaves_textures_alone(case, scale):
    volume, region = case
    scaled = RadiomicsSettings(log_sigmas_mm=(), bin_width={"original": WIDTH * scale}, force_2d=False)
    before = extract(volume, [region], SPATIAL)
    after = extract(with_array(volume, volume.array * np.float32(scale)), [region], scaled)
    np.testing.assert_allclose(textures(after), textures(before), rtol=1e-12)
    for name, power in (("Mean", 1), ("Variance", 2), ("Skewness", 0), ("Range", 1)):
        column = f"original_firstorder_{name}"
        np.testing.assert_allclose(after.column(column), before.column(column) * scale**power, rtol=1e-9, atol=1e-9)


@quick
@given(cases(), strategies.permutations([0, 1, 2]), strategies.tuples(*[strategies.booleans()] * 3))
def test_the_same_head_stored_along_other_axes_has_the_same_features(case, axes, flips):
    volume, region = case
    turn = tuple(slice(None, None, -1 if f else 1) for f in flips)
    size, spacing = (tuple(np.array(v[::-1])[list(axes)][::-1].tolist()) for v in (volume.grid.size, volume.spacing))
    turned = Volume(volume.array.transpose(axes)[turn], Grid(size, spacing, (0.0, 0.0, 0.0), IDENTITY))
    before = extract(volume, [region], SPATIAL)
    after = extract(turned, [RegionMask("r", region.mask.transpose(axes)[turn])], SPATIAL)
    # in-plane diameters change places with the axes; pyradiomics' mesh cuts voxels that touch at an edge by axis order
    by_axis = ("Maximum2D", "MeshVolume", "Surface", "shape_Sphericity")
    names = [n for n in before.names if not any(word in n for word in by_axis)]
    np.testing.assert_allclose(after.columns(names), before.columns(names), rtol=1e-9, atol=1e-9)


@quick
@given(cases(), strategies.randoms(use_true_random=False))
def test_order_and_company_of_regions_change_nothing(case, random):
    volume, region = case
    rng = np.random.default_rng(random.randrange(2**32))
    others = [RegionMask(str(n), rng.random(region.mask.shape) < 0.5) for n in range(3)]
    order = [region, *others]
    random.shuffle(order)
    alone = extract(volume, [region], PLAIN)
    together = extract(volume, order, PLAIN)
    row = next(n for n, r in enumerate(order) if r is region)
    np.testing.assert_array_equal(together.values[row], alone.values[0])


@quick
@given(cases())
def test_one_slice_gives_the_same_as_mask_2d_and_3d(case):
    volume, region = case
    whole = np.zeros_like(region.mask)
    whole[1] = region.mask[1]
    table = extract(volume, [RegionMask("2", region.mask[1], 1), RegionMask("3", whole)], PLAIN)
    np.testing.assert_array_equal(table.values[0], table.values[1])


def test_log_of_a_constant_and_of_a_ramp_is_zero_and_of_a_parabola_its_curvature():
    shape, spacing, sigma = (40, 64, 64), (1.0, 1.0, 1.0), 2.0
    _, j, i = (np.arange(n) - n / 2 for n in shape)
    ones = np.ones(shape)
    middle = np.zeros(shape, bool)
    middle[18:22, 30:34, 30:34] = True
    settings_log = RadiomicsSettings(original=False, log_sigmas_mm=(sigma,), feature_classes=("firstorder",))
    for array, expected in ((1000 * ones, 0.0), (ones * i * 30, 0.0), (ones * (j**2)[:, None] / 2, sigma**2)):
        volume = Volume(array.astype(np.float32), Grid(shape[::-1], spacing, (0.0, 0.0, 0.0), IDENTITY))
        table = extract(volume, [RegionMask("middle", middle)], settings_log)
        for name in ("Minimum", "Maximum"):
            assert table.column(f"log-sigma-2-0-mm-3D_firstorder_{name}")[0] == pytest.approx(expected, abs=2e-2)


@pytest.mark.parametrize("sigma", [0.2, 0.7, 1.0, 4.0, 11.0])
def test_kernels_keep_their_moments(sigma):
    n = np.arange(int(40 * sigma) + 20)
    both = np.where(n == 0, 1, 2)
    assert both @ kernel(0, sigma, n) == pytest.approx(1, abs=1e-12)
    assert both @ kernel(2, sigma, n) == pytest.approx(0, abs=1e-12)
    assert both @ (kernel(2, sigma, n) * n**2) == pytest.approx(2, abs=1e-9)


@pytest.mark.parametrize("offset", [-1e6, 0.0, 1e6])
def test_only_a_region_of_too_many_levels_is_refused_wherever_its_zero_is(offset):
    values = offset + np.array([0.0, 1.0, MAX_LEVELS - 1])
    assert grey_levels(values, 1.0, None).tolist() == [1, 2, MAX_LEVELS]
    with pytest.raises(BadInput, match="larger bin_width"):
        bin_edges(values, 0.9, None)


@pytest.mark.parametrize(
    ("shape", "sigma", "small"),
    [((4, 9, 9), 3.0, False), ((3, 9, 9), 1.0, True), ((9, 9, 5), 4.5, True), ((9, 9, 6), 4.5, False)],
)
def test_an_image_smaller_than_the_filter_is_not_filtered(shape, sigma, small):
    """An axis of four voxels, and of the filter's sigma and one more, is enough."""
    assert too_small(shape, (1.0, 1.0, 1.0), sigma) == small
    assert too_small(shape, (2.0, 2.0, 2.0), 2 * sigma) == small


def test_a_crop_far_away_does_not_reach_the_region():
    """The result depends on the image around the region, not on where the array ends."""
    volume = image(shape=(8, 200, 200), spacing=(0.5, 0.5, 4.0))
    region = discs(volume, (8.0,))[0]
    changed = volume.array.copy()
    changed[:, :20, :20] = 9999
    settings_log = RadiomicsSettings(log_sigmas_mm=(0.5, 1.0, 2.0))
    before, after = (extract(with_array(volume, a), [region], settings_log) for a in (volume.array, changed))
    np.testing.assert_allclose(after.values, before.values, rtol=1e-5, atol=1e-4)


def test_batches_of_images_give_what_one_batch_gives(monkeypatch):
    import sys

    volume = image(seed=3)
    regions, chosen = [*discs(volume), solid(volume)], RadiomicsSettings(log_sigmas_mm=(1.0, 2.0, 3.0))
    whole = extract(volume, regions, chosen)
    monkeypatch.setattr(sys.modules["cnsifusion.radiomics.extract"], "_BATCH", 1)
    np.testing.assert_allclose(extract(volume, regions, chosen).values, whole.values, rtol=1e-12)


@pytest.mark.parametrize("mode", ["2D", "3D"])
def test_a_table_of_some_columns_holds_the_same_bits_and_nothing_costly_besides(mode, monkeypatch):
    volume = image()
    regions, chosen = discs(volume), RadiomicsSettings(log_mode=mode)
    whole = extract(volume, regions, chosen)
    rng = np.random.default_rng(4)
    for count in (1, 7, 60):
        some = [str(name) for name in rng.choice(whole.names, count, replace=False)]
        table = extract(volume, regions, chosen, only=some)
        assert list(table.names) == some
        np.testing.assert_array_equal(table.values, whole.columns(some))
    monkeypatch.setattr("cnsifusion.radiomics.glcm._maximal_correlation", lambda *_: pytest.fail("MCC was computed"))
    extract(volume, regions, chosen, only=[n for n in whole.names if not n.endswith("_MCC")])
    with pytest.raises(ValueError, match="nonsense"):
        extract(volume, regions, chosen, only=["original_glcm_nonsense"])
