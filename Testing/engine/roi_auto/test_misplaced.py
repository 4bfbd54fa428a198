"""Given regions that do not lie where the head has them: a sentence each, none for those that do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from roi_phantom import Proposal

from cnsifusion.roi import names
from cnsifusion.roi.misplaced import misplaced


def sentences(head: Proposal, **masks: np.ndarray) -> list[str]:
    """The doubts about the head's own regions with some masks exchanged (names with _ for spaces and hyphens)."""
    known = {name.replace(" ", "_").replace("-", "_"): name for name in names.SEGMENTS}
    changed = {known[name]: mask for name, mask in masks.items()}
    return misplaced(replace(head.regions, masks={**head.regions.masks, **changed}), head.anatomy)


def test_only_regions_in_another_place_are_named(whole_head: Proposal) -> None:
    masks, parts = whole_head.regions.masks, whole_head.regions.parts
    left, right = masks[names.SUBLENTIFORM_LEFT], masks[names.SUBLENTIFORM_RIGHT]
    assert sentences(whole_head) == []
    swapped = sentences(whole_head, Sub_lentiform_left=right, Sub_lentiform_right=left)
    assert [s.split(";")[0] for s in swapped] == [
        "“Sub-lentiform left” lies on the patient's right",
        "“Sub-lentiform right” lies on the patient's left",
    ]
    assert parts is not None
    fourth = sentences(whole_head, Sub_lentiform_right=parts == 3)
    assert len(fourth) == 1 and "“Sub-lentiform right” lies" in fourth[0] and "another structure" in fourth[0]
    everything = sentences(whole_head, CSF_ventricles=np.ones_like(left))
    assert len(everything) == 1 and "outside the brain" in everything[0]
    assert sentences(whole_head, Sub_lentiform_left=np.zeros_like(left)) == []
