"""The template is found in turned heads, with and without skull, and not in what is no T2 head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from roi_phantom import Proposal, make_phantom

from cnsifusion.imaging.grid import Grid, snap
from cnsifusion.imaging.volume import Volume
from cnsifusion.roi import names, registration
from cnsifusion.roi.anatomy import LANDMARKS, _doubts, locate
from cnsifusion.roi.propose import propose

POINTS = np.array([(0, -3, -4), (25, 0, -10), (-25, 0, -10), (10, 20, 18), (0, 45, -34), (0, 60, 40)], float)


@pytest.mark.parametrize("case", ["whole_head", "stripped"])
def test_landmarks(case: str, request: pytest.FixtureRequest) -> None:
    head: Proposal = request.getfixturevalue(case)
    truth = POINTS @ head.phantom.matrix[:3, :3].T + head.phantom.matrix[:3, 3]
    assert head.anatomy.trusted, head.anatomy.reasons
    errors = np.linalg.norm(head.anatomy.to_patient(POINTS) - truth, axis=1)
    assert np.median(errors) < 1.5 and errors.max() < 3
    back = head.anatomy.to_template(head.anatomy.to_patient(POINTS))
    assert np.abs(back - POINTS).max() < 0.3
    found = head.anatomy.landmarks()
    for name, point in LANDMARKS.items():
        true = head.phantom.matrix[:3, :3] @ point + head.phantom.matrix[:3, 3]
        assert np.linalg.norm(found[name] - true) < 3, name
    assert head.anatomy.midplane.distance(found["lentiform base left"]) > 15
    assert head.anatomy.midplane.distance(found["lentiform base right"]) < -15


def test_midplane_is_the_heads_own(whole_head: Proposal) -> None:
    normal = whole_head.phantom.matrix[:3, 0]
    plane = whole_head.anatomy.midplane
    assert np.dot(plane.normal, normal) > np.cos(np.deg2rad(1.5))
    centre = whole_head.phantom.matrix[:3, :3] @ (0, 10, 5) + whole_head.phantom.matrix[:3, 3]
    assert abs(float(plane.distance(centre))) < 1.5


def test_masks(whole_head: Proposal) -> None:
    anatomy, volume = whole_head.anatomy, whole_head.phantom.volume
    millilitres = anatomy.brain.sum() * volume.grid.voxel_volume / 1000
    assert 1500 < millilitres < 2100  # the template's own brain has 1.9 litres
    assert not (anatomy.white_matter & ~anatomy.brain).any()
    values = volume.array[anatomy.white_matter]
    assert values.size > 5000 and abs(np.median(values) - 300) < 30


def test_same_head_same_bits(stripped: Proposal) -> None:
    again = locate(stripped.phantom.volume)
    assert np.array_equal(again.template_to_patient, stripped.anatomy.template_to_patient)
    assert np.array_equal(again.warp.array, stripped.anatomy.warp.array)
    assert again.midplane == stripped.anatomy.midplane


def test_finer_pixels_are_averaged_and_lead_to_the_same_place(stripped: Proposal) -> None:
    volume, times = stripped.phantom.volume, 4
    (ni, nj, nk), (si, sj, sk) = volume.grid.size, volume.spacing
    grid = volume.grid.resized((ni * times, nj * times, nk), (si / times, sj / times, sk))
    fine = locate(Volume(volume.array.repeat(times, 1).repeat(times, 2), grid))
    assert np.abs(fine.to_patient(POINTS) - stripped.anatomy.to_patient(POINTS)).max() < 0.01
    assert fine.midplane == stripped.anatomy.midplane
    assert fine.brain.shape == fine.white_matter.shape == grid.shape


@pytest.mark.parametrize(("pixels", "slices", "value"), [(200, 0, 0.0), (37, 2, 900.0)], ids=["zeros", "bright"])
def test_padding_changes_nothing(pixels: int, slices: int, value: float, stripped: Proposal) -> None:
    volume, (ni, nj, nk) = stripped.phantom.volume, stripped.phantom.volume.grid.size
    wide = ((slices, slices), (pixels, pixels), (pixels, pixels))
    origin = volume.grid.to_lps((-pixels, -pixels, -slices))
    size = (ni + 2 * pixels, nj + 2 * pixels, nk + 2 * slices)
    grid = snap(Grid(size, volume.spacing, tuple(origin.tolist()), volume.grid.direction))
    padded = Volume(np.pad(volume.array, wide, constant_values=value), grid)
    anatomy, inner = locate(padded), tuple(slice(low, n + low) for (low, _), n in zip(wide, volume.grid.shape))
    assert padded.content() == inner
    assert np.array_equal(anatomy.template_to_patient, stripped.anatomy.template_to_patient)
    assert anatomy.midplane == stripped.anatomy.midplane
    regions = propose(padded, anatomy)
    masks = {"brain": (anatomy.brain, stripped.anatomy.brain), "parts": (regions.parts, stripped.regions.parts)}
    masks |= {name: (mask, stripped.regions.masks[name]) for name, mask in regions.masks.items()}
    assert set(regions.masks) == set(stripped.regions.masks)
    for name, (found, expected) in masks.items():
        assert np.array_equal(found[inner], expected) and found.sum() == expected.sum(), name


def test_far_start_ends_at_the_same_place() -> None:
    phantom = make_phantom((18.0, -12.0, 14.0), (18.0, -17.0, 12.0), (2.0, 2.0, 5.0), seed=3)
    truth = POINTS @ phantom.matrix[:3, :3].T + phantom.matrix[:3, 3]
    errors = np.linalg.norm(locate(phantom.volume).to_patient(POINTS) - truth, axis=1)
    assert np.median(errors) < 2.5


def test_a_poor_fit_is_tried_again_from_a_smaller_brain(whole_head: Proposal, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a template far too large, whose rim lies outside the skull, no step leads inward."""
    search = registration._search

    def too_large(*asked: object) -> list[registration.Affine]:
        return [replace(start, stretch=np.eye(3)) for start in search(*asked)]

    known = registration.register(whole_head.phantom.volume).fit.affine
    monkeypatch.setattr(registration, "_search", too_large)
    found = registration.register(whole_head.phantom.volume).fit.affine
    assert np.abs(found.apply(POINTS) - known.apply(POINTS)).max() < 0.5


@pytest.mark.parametrize("what", ["inverted", "noise"])
def test_no_head_no_regions(what: str, stripped: Proposal) -> None:
    """T1-like contrast, and noise: nothing is offered, and the reason is said for every segment."""
    volume = stripped.phantom.volume
    array = volume.array.copy()
    if what == "inverted":
        array[array > 60] = 1100 - array[array > 60]
    else:
        array = np.random.default_rng(4).gamma(2.0, 100.0, array.shape).astype(np.float32)
    changed = Volume(np.maximum(array, 0).astype(np.float32), volume.grid)
    anatomy = locate(changed)
    regions = propose(changed, anatomy)
    assert not anatomy.trusted and anatomy.reasons
    assert not regions.masks and set(regions.withheld) == set(names.SEGMENTS)
    assert all(reason.endswith(".") for reason in regions.withheld.values())


@pytest.mark.filterwarnings("error")
def test_a_few_slices_are_no_head_and_no_fault(whole_head: Proposal) -> None:
    volume = whole_head.phantom.volume
    _, nj, ni = volume.array.shape
    for first in (16, 22, 28):
        slab = volume.cropped((slice(first, first + 4), slice(0, nj), slice(0, ni)))
        anatomy = locate(slab)
        assert not anatomy.trusted and anatomy.reasons
        assert not propose(slab, anatomy).masks


@pytest.mark.parametrize(("grey", "clear"), [(0.62, True), (0.77, False)], ids=["T2", "proton density"])
def test_csf_must_be_clearly_brighter_than_tissue(grey: float, clear: bool, stripped: Proposal) -> None:
    levels = {"csf": 1.0, "gm": grey, "wm": 0.6}
    found = replace(registration.register(stripped.phantom.volume), levels=levels)
    brain, white = stripped.anatomy.brain, stripped.anatomy.white_matter
    assert _doubts(found, brain, white) == ([] if clear else ["CSF is not clearly brighter than brain tissue."])
    lost = replace(found, fit=replace(found.fit, correlation=0.3))
    assert _doubts(lost, brain, white) == ["The head could not be matched to the template well enough."]
