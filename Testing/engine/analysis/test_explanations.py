"""The two maps against a truth: planted off-centre spots are found, and what they point to moves the log-odds."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.stats import wilcoxon

pytest.importorskip("torch")

from planted_spots import RADIOMICS, SETTINGS, Head, make_head, train_on_spots
from simulated_spaces import FIRST_SEED, blurred_middle, measure

from cnsifusion.analysis.features import extract_features
from cnsifusion.analysis.heatmap import CellMap, heat_volume
from cnsifusion.analysis.logmap import _PIXEL_LIMIT, _side, log_maps
from cnsifusion.analysis.occlusion import _RUN_LIMIT, _RUNS_OF, _joined, _lattice, network_maps
from cnsifusion.bundles import Bundle, default_bundle_dir, load_bundle
from cnsifusion.imaging import Grid, Volume
from cnsifusion.radiomics import RadiomicsSettings
from cnsifusion.roi.instances import Instance, make_instances
from cnsifusion.roi.patches import PatchSettings, cut_patches

#: Shares of a region's pixels that are taken away one after the other.
_SHARES = (0.03, 0.06, 0.12, 0.25, 0.5)


class Explained:
    """A head the bundle never saw: its instances, one of the maps, and pictures [k, j, i] of what else could be said.

    The LoG map (``network`` False) is judged by what the whole model answers, the network's map by what the network
    adds: there the features stay as they are.
    """

    def __init__(self, bundle: Bundle, head: Head, network: bool) -> None:
        self.bundle, self.head, self.network = bundle, head, network
        self.radiomics = RadiomicsSettings.from_dict(bundle.settings.radiomics)
        self.cut = PatchSettings(**bundle.settings.patches)
        self.instances, _ = make_instances(head.case, "sublentiform")
        self.mask = np.zeros(head.spots.shape, bool)
        self.centre = np.zeros(head.spots.shape)
        for i in self.instances:
            self.mask[i.slice_index] |= i.mask
            self.centre[i.slice_index] += blurred_middle(i.mask, 6.0)
        self.table = extract_features(head.case, self.instances, self.radiomics)
        self.patches, places = cut_patches(head.case, self.instances, self.cut)
        self.prediction = bundle.predict(self.patches, self.table.values, self.table.names)
        if network:
            self.maps = network_maps(
                head.case, self.instances, self.patches, places, bundle, self.prediction, self.table
            )  # fmt: skip
        else:
            self.maps = log_maps(head.case, self.instances, bundle, self.prediction, self.table)
        self.heat = heat_volume(head.case, self.maps).array

    def share_on_spots(self, picture: np.ndarray) -> float:
        """How much of a picture's mass inside the regions lies on the planted spots."""
        inside = picture * self.mask
        return float(inside[self.head.spots].sum() / inside.sum())

    def log_odds_without(self, gone: np.ndarray) -> float:
        """Mean log-odds after the image's pixels ``gone`` took their region's median.

        (What is ordinary in the region: neither map's own operation.)
        """
        image = self.head.case.prepared.resampled
        array = image.array.copy()
        for i in self.instances:
            array[i.slice_index][gone[i.slice_index] & i.mask] = np.median(array[i.slice_index][i.mask])
        case = replace(self.head.case, prepared=replace(self.head.case.prepared, resampled=image.with_array(array)))
        table = self.table if self.network else extract_features(case, self.instances, self.radiomics)
        patches, _ = cut_patches(case, self.instances, self.cut)
        return float(self.bundle.predict(patches, table.values, table.names).logit.mean())

    def curve(self, order: np.ndarray, insertion: bool = False) -> float:
        """Mean log-odds while pixels of every region go (or, from nothing, come back) in falling ``order``."""
        found = []
        for share in _SHARES:
            gone = np.zeros_like(self.mask)
            for i in self.instances:
                at = np.argwhere(i.mask)
                ranked = at[np.argsort(-order[i.slice_index][i.mask], kind="stable")][: round(share * len(at))]
                gone[i.slice_index][tuple(ranked.T)] = True
            found.append(self.log_odds_without(self.mask & ~gone if insertion else gone))
        return float(np.mean(found))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return train_on_spots(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def explained(bundle):
    return [Explained(bundle, make_head(seed, True), network=False) for seed in range(1000, 1012)]


@pytest.fixture(scope="module")
def seen():
    """The same heads with the network's map of the bundle that ships."""
    return [Explained(load_bundle(default_bundle_dir()), make_head(n, True), network=True) for n in range(1000, 1012)]


def _better(a: list[float], b: list[float]) -> float:
    """One-sided p that patients' ``a`` are above their ``b`` (Wilcoxon's signed ranks)."""
    return float(wilcoxon(np.subtract(a, b), alternative="greater").pvalue)


def test_the_log_map_lies_on_the_planted_spots(explained):
    """Patient by patient above chance (the spots' share of the area) and above a blurred middle of the region."""
    found = [e.share_on_spots(e.heat) for e in explained]
    chance = [e.share_on_spots(e.mask.astype(float)) for e in explained]
    centre = [e.share_on_spots(e.centre) for e in explained]
    assert _better(found, chance) < 0.001 and _better(found, centre) < 0.001, (found, chance, centre)
    assert np.mean(found) > 2 * max(np.mean(chance), np.mean(centre)), (found, chance, centre)


def test_maps_end_with_the_region(explained, seen):
    """A cell that lies half outside is not painted there: nobody asked what lies outside."""
    for e in (explained[0], seen[0]):
        assert e.heat.max() > 0.5 and not e.heat[~binary_dilation(e.mask)].any()


def test_maps_share_one_scale_and_lie_where_their_cells_were_cut():
    """The second has the strongest cell; what speaks against infection is not painted. Two and three voxels cropped."""
    volume = Volume(
        np.zeros((2, 16, 20), np.float32), Grid((20, 16, 2), (1.0, 1.0, 5.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    )
    prepared = SimpleNamespace(
        settings=SimpleNamespace(pixel_mm=1.0), window=(slice(2, 14), slice(3, 17)),
        resampled=SimpleNamespace(grid=SimpleNamespace(shape=(2, 12, 14))),
    )  # fmt: skip
    masks, expected = np.zeros((2, 12, 14), bool), np.zeros((2, 16, 20))
    masks[0, 1:5, 2:10] = masks[1, 4:8, :4] = True
    masks[0, 1, 9] = masks[1, 7, 0] = False
    expected[0, 3:7, 5:13] = 0.25 * np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)
    expected[1, 6:10, 3:7] = 1
    expected[0, 3, 12] = expected[1, 9, 3] = 0
    maps = [
        CellMap(0, 1, 2, 4, np.array([[-2.0, 1.0]]), masks[0]),
        CellMap(1, 4, 0, 4, np.array([[4.0]]), masks[1]),
    ]
    heat = heat_volume(SimpleNamespace(volume=volume, prepared=prepared), maps)
    assert np.allclose(heat.array, expected, atol=1e-6)


def test_both_maps_lie_on_simulated_perivascular_spaces():
    """The bundle that ships, on infected patients it never saw: above chance (1) and above a blurred middle."""
    bundle, seconds = load_bundle(default_bundle_dir()), {"network": [], "LoG map": []}
    ratios = [found for seed in range(FIRST_SEED, FIRST_SEED + 14) if (found := measure(bundle, seed, seconds))]
    assert len(ratios) >= 10
    for name in seconds:
        found, middle = ([r[which] for r in ratios] for which in (name, "blurred middle"))
        assert _better(found, [1.0] * len(found)) < 0.01 and _better(found, middle) < 0.01, (name, found, middle)
        assert np.mean(found) > 2 * max(1.0, np.mean(middle)), (name, found, middle)


@pytest.mark.parametrize("which", ["explained", "seen"])
def test_what_the_map_points_to_moves_the_log_odds(which, request):
    """Deletion: the log-odds fall sooner than in random order or from the middle. Insertion: they rise sooner."""
    random = np.random.default_rng(5)
    some = request.getfixturevalue(which)[:8]
    for insertion, sign in ((False, -1.0), (True, 1.0)):
        by_map = [sign * e.curve(e.heat, insertion) for e in some]
        for name, orders in (
            ("random", [random.random(e.mask.shape) for e in some]),
            ("centre", [e.centre for e in some]),
        ):
            other = [sign * e.curve(order, insertion) for e, order in zip(some, orders)]
            assert _better(by_map, other) < 0.02, (insertion, name, by_map, other)


def test_a_cells_evidence_is_what_the_model_loses_without_it(explained):
    """Against the plain way: the mask without the cell through the whole feature extraction and the bundle."""
    e = explained[0]
    instance, cells = e.instances[1], e.maps[1]
    chosen = [n for n in e.table.names if n.startswith("log-sigma")]
    lost, sizes = np.zeros(cells.values.shape), np.zeros(cells.values.shape)
    for row, column in np.ndindex(*cells.values.shape):
        piece = np.zeros_like(instance.mask)
        first = (cells.row + row * cells.pixels, cells.column + column * cells.pixels)
        piece[first[0] : first[0] + cells.pixels, first[1] : first[1] + cells.pixels] = True
        sizes[row, column] = (piece & instance.mask).sum()
        if sizes[row, column]:
            without = extract_features(e.head.case, [replace(instance, mask=instance.mask & ~piece)], RADIOMICS)
            values = e.table.values[1:2].copy()
            at = [e.table.names.index(n) for n in chosen]
            values[:, at] = without.values[:, at]
            patches, _ = cut_patches(e.head.case, [instance], SETTINGS.patches)
            again = e.bundle.predict(patches, values, e.table.names).logit.mean()
            lost[row, column] = e.prediction.logit[1].mean() - again
    expected = np.where(sizes > 0, lost - sizes * lost.sum() / sizes.sum(), 0)
    assert np.abs(expected - cells.values).max() < 1e-5 * max(1, np.abs(expected).max())
    assert abs(cells.values.sum()) < 1e-9 and np.abs(cells.values).max() > 0.01


def test_no_log_feature_no_map(explained):
    e = explained[0]
    plain = copy(e.bundle)
    plain.settings = replace(plain.settings, features=replace(plain.settings.features, names=["original_glcm_Idn"]))
    assert log_maps(e.head.case, e.instances, plain, e.prediction, e.table) == []


def test_large_regions_take_larger_cells(explained):
    """Time is bounded by the pixels counted: cells times pixels, over all instances."""
    usual = explained[0].instances[0]
    small = [replace(usual, mask=np.ones((20, 20), bool))]
    assert _side(small, 0.5) == 4 and _side(small, 1.0) == 2
    large = [replace(usual, mask=np.ones((120, 120), bool))] * 10
    side = _side(large, 0.5)
    counted = [sum(i.pixels**2 for i in large) / s**2 for s in (side - 1, side)]
    assert counted[1] <= _PIXEL_LIMIT < counted[0]


def test_a_cells_evidence_is_what_the_network_loses_when_it_is_painted_over(seen):
    """Against the plain way: the image painted over, its patch cut anew; on the right, where patches are mirrored."""
    e = seen[0]
    number = next(n for n, i in enumerate(e.instances) if i.side == "right")
    instance, cells, image = e.instances[number], e.maps[number], e.head.case.prepared.resampled
    lost, sizes = np.zeros(cells.values.shape), np.zeros(cells.values.shape)
    for row, column in np.ndindex(*cells.values.shape):
        cell = np.zeros_like(instance.mask)
        first = (cells.row + row * cells.pixels, cells.column + column * cells.pixels)
        cell[first[0] : first[0] + cells.pixels, first[1] : first[1] + cells.pixels] = True
        cell &= instance.mask
        sizes[row, column] = cell.sum()
        around = binary_dilation(cell, iterations=cells.pixels // 2) & instance.mask & ~cell
        array = image.array.copy()
        array[instance.slice_index][cell] = np.median(array[instance.slice_index][around]) if cell.any() else 0
        case = replace(e.head.case, prepared=replace(e.head.case.prepared, resampled=image.with_array(array)))
        patches, _ = cut_patches(case, [instance], e.cut)
        again = e.bundle.predict(patches, e.table.values[number : number + 1], e.table.names).logit.mean()
        lost[row, column] = e.prediction.logit[number].mean() - again
    own = sizes >= cells.pixels**2 / 4  # smaller ones go with their neighbours
    found, expected = cells.values[own], lost[own]
    assert own.sum() >= 8 and np.corrcoef(found, expected)[0, 1] > 0.95, (found, expected)
    assert cells.pixels == 8 and np.abs(found).max() > 1e-3


def test_cells_at_the_edge_go_with_their_neighbours():
    numbers = np.array([[1, 1, 1, 2], [1, 1, 1, 2], [0, 1, 1, 3]])
    assert _joined(numbers, 2).tolist() == [[1, 1, 1, 2], [1, 1, 1, 2], [0, 1, 1, 2]]
    assert _joined(numbers, 100) is numbers


def test_many_instances_take_larger_cells_rather_than_more_time():
    instance = Instance("sublentiform", "sublentiform", "left", 0, np.ones((40, 40), bool))
    assert _lattice([instance], 0.5)[0] == 8 and _lattice([instance], 0.8)[0] == 5
    side, cells = _lattice([instance] * 10, 0.5)
    assert side > 8 and sum(c.max() for c in cells) <= _RUN_LIMIT
    wide, few = _lattice([instance] * 10, 0.5, _RUNS_OF["densenet201"])
    assert wide > side and sum(c.max() for c in few) <= _RUN_LIMIT / 2, "a slow network"
    small = replace(instance, mask=np.ones((10, 10), bool))
    assert len(_lattice([small] * 100, 0.5)[1]) == 100  # ends although every instance takes one run at least


def test_no_network_no_map(seen):
    e = seen[0]
    alone = copy(e.bundle)
    settings = e.bundle.settings
    alone.settings = replace(settings, architecture=replace(settings.architecture, backbone="none"))
    assert network_maps(e.head.case, e.instances, e.patches, [], alone, e.prediction, e.table) == []
