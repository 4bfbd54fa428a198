"""What brightness alone could give: the best threshold for the lateral ventricles, chosen with the truth in hand.

    python Testing/benchmarks/thresholds.py [--labels DIR] [--only NAME ...]

For every head of the proposal's benchmark with exact truth: the Dice of the proposal, and the best Dice of a threshold
on the way from the local tissue level (0) to the local CSF level (1), one for the head or one for each slice, within
two pixels of the true ventricle. No method that only compares brightness with levels can do better there.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

import numpy as np
from proposal import Head, dice, label_heads, shared_heads, simulated_heads
from scipy import ndimage

from cnsifusion.roi.anatomy import locate
from cnsifusion.roi.levels import csf_levels
from cnsifusion.roi.propose import propose

_SHARES = np.arange(0.2, 0.9, 0.025)
_IN_PLANE = ndimage.generate_binary_structure(2, 1)[None]


def limits(head: Head) -> str:
    """One row for ``head``."""
    anatomy = locate(head.volume)
    parts = propose(head.volume, anatomy).parts
    truth = head.parts["lateral"]
    fluid, tissue = csf_levels(head.volume, anatomy)
    share = (head.volume.array - tissue) / (fluid - tissue)
    zone = ndimage.binary_dilation(truth, _IN_PLANE, iterations=2) & ~head.parts["third"] & ~head.parts["fourth"]
    whole = {float(s): dice(zone & (share > s), truth) for s in _SHARES}
    best = max(whole, key=whole.__getitem__)
    sliced = np.zeros_like(truth)
    for k in np.flatnonzero(truth.any((1, 2))):
        sliced[k] = max((zone[k] & (share[k] > s) for s in _SHARES), key=lambda mask, k=k: dice(mask, truth[k]))
    proposed = dice(parts == 1, truth) if parts is not None else 0.0
    return (
        f"{head.name:24s} {head.volume.spacing[2]:.1f} mm  proposed {proposed:.3f}  best threshold {best:.2f}: "
        f"{whole[best]:.3f}  best of every slice {dice(sliced, truth):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulated", type=int, default=4, help="patients of the project's simulation")
    parser.add_argument("--labels", type=Path, help="folder of label maps to paint heads from")
    parser.add_argument("--only", nargs="*", help="names of heads")
    arguments = parser.parse_args()
    painted = label_heads(arguments.labels) if arguments.labels else iter(())
    for head in chain(shared_heads(), simulated_heads(arguments.simulated), painted):
        if head.exact and (not arguments.only or head.name in arguments.only):
            print(limits(head), flush=True)


if __name__ == "__main__":
    main()
