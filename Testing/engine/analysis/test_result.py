"""What a result says, against the image, the regions and the bundle that it was made from."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cnsifusion.analysis import analyze
from cnsifusion.bundles import default_bundle_dir, load_bundle
from cnsifusion.imaging import read_image
from cnsifusion.imaging.read import content_sha256
from cnsifusion.roi.instances import NotClassified
from cnsifusion.roi.region_io import read_regions


def test_the_result_names_places_numbers_and_sources_as_they_are(analyzed, simulated_image) -> None:
    """What the views jump to, what stands in the tables, and the hashes that tell image, model and regions again."""
    out, result, _ = analyzed
    image, bundle = read_image(simulated_image), load_bundle(default_bundle_dir())
    masks, provenance = read_regions(out / "rois.seg.nrrd", image).masks, result.provenance
    for one in result.instances:
        drawn = np.argwhere(masks[f"Sub-lentiform {one.side}"][one.slice_index])[:, ::-1].mean(axis=0)
        expected = image.grid.to_lps(np.array([*drawn, one.slice_index]))
        assert one.position_mm == pytest.approx(tuple(expected), abs=1.5)
    for focus in result.pvs["foci"]:
        i, j, k = np.rint(image.grid.to_ijk(np.array(focus["position_mm"]))).astype(int)
        near = masks[f"PVS {focus['side']}"][k, j - 2 : j + 3, i - 2 : i + 3]
        assert k == focus["slice_index"] and (near.any() or focus["large"])
    for name, row in result.statistics["segments"].items():
        assert row["mean"] == pytest.approx(image.array[masks[name]].mean(), rel=1e-3), name
        assert row["volume_ml"] == pytest.approx(masks[name].sum() * image.grid.voxel_volume / 1000, rel=1e-2, abs=0.01)
    assert provenance["image_sha256"] == content_sha256(simulated_image)
    assert provenance["regions_sha256"] == content_sha256(out / "rois.seg.nrrd")
    assert (provenance["bundle_sha256"], provenance["bundle_name"]) == (bundle.sha256, bundle.settings.name)
    assert all(provenance["radiomics"].values()) and set(provenance["region_origin"].values()) == {"automatic"}
    for parts in zip(*(i.contributions for i in result.instances)):
        known = sorted((p.value, p.training_quantile) for p in parts if p.value is not None)
        assert [q for _, q in known] == sorted(q for _, q in known) and all(0 <= q <= 1 for _, q in known)
    assert len({p.value for i in result.instances for p in i.contributions}) > len(result.contributions)


def test_the_result_holds_every_warning_what_was_left_out_and_a_score_at_the_threshold(monkeypatch) -> None:
    bundle = load_bundle(default_bundle_dir())
    thresholds = {bundle.settings.default_threshold: float(bundle.probability(0.25))}
    settings = replace(bundle.settings, thresholds=thresholds)
    model = SimpleNamespace(settings=settings, probability=bundle.probability, patient_score=bundle.patient_score)
    regions = SimpleNamespace(notes=["note"], withheld={"PVS left": "withheld"}, foci=[])
    check = SimpleNamespace(reasons=["reason"], to_dict=dict)
    case = SimpleNamespace(check=check, doubts=["doubt"], regions=regions, volume=None)
    statistics = {"left_right": {"pvs_count": {"left": 1, "right": 2}}}
    for name, value in (
        ("region_statistics", statistics), ("_contributions", [[], []]), ("_centre", (0.0, 0.0, 0.0)),
        ("_outside", []), ("_provenance", {}),
    ):  # fmt: skip
        monkeypatch.setattr(analyze, name, lambda *_, value=value: value)
    one = SimpleNamespace(key="k", part="sublentiform", side="left", slice_index=1, pixels=70)
    prediction = SimpleNamespace(logit=np.array([[0.25] * 4, [-1.0] * 4]))
    left_out = [NotClassified("sublentiform", "left", 3, "too small")]
    result = analyze._result(case, model, [one, one], left_out, prediction, None)
    assert [i.above_threshold for i in result.instances] == [True, False]
    assert result.warnings == ["reason", "doubt", "note", "withheld"]
    assert result.not_classified == [vars(left_out[0])]


def test_a_slice_whose_sides_count_as_two_is_said_to(analyzed) -> None:
    """"0 of 2 slices" stood beside the one line of a chart with one slice."""
    result, words = analyzed[1], " slices above threshold"
    for places, said in (
        ([("left", 3), ("left", 4)], f"1 of 2{words}"),
        ([("none", 3), ("none", 4)], f"1 of 2{words}"),
        ([("right", 3), ("left", 3)], f"1 of 2{words}, right and left of 1 slice counted separately"),
        ([("right", 3), ("left", 3), ("left", 4)], f"1 of 3{words}, right and left of 2 slices counted separately"),
    ):
        instances = [replace(result.instances[0], side=side, slice_index=index) for side, index in places]
        score = replace(result.patient, instances=len(places), instances_above=1)
        assert replace(result, instances=instances, patient=score).slices_above == said
