"""Makes ``resources/template/region_b.onnx``, the network that sees where region B lies (roi/region_net.py).

    python Testing/region_net --labels DIR [--check]

The people of the label maps in DIR (see benchmarks/labelheads.py) are painted as whole heads in three styles and placed
as ``locate`` places them; there the network sees their deep brain painted in many random ways, beside the protocol's
region under their true nuclei. Maps 03 and 19 stay out: synA and synB of the test data are made from them.
About three quarters of an hour on two cores. With ``--check`` nothing is written: a network taught with one half of the
people proposes the regions of the other half, and the other way round.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "benchmarks"))

from network import RegionNet, exported, trained  # noqa: E402
from painting import samples  # noqa: E402
from people import LEFT_OUT, STYLES, person, placed_heads  # noqa: E402
from proposal import SUBLENTIFORM, label_heads  # noqa: E402
from readings import compared  # noqa: E402

from cnsifusion.inference import new_session  # noqa: E402
from cnsifusion.roi import region_net  # noqa: E402
from cnsifusion.roi.anatomy import Anatomy  # noqa: E402
from cnsifusion.roi.networks import REGION_B  # noqa: E402
from cnsifusion.roi.propose import propose  # noqa: E402

_JOBS, _PAINTINGS, _STEPS = 2, 100, 8000
Placed = dict[str, list[Anatomy]]


def taught(folder: Path, placed: Placed, names: list[str]) -> RegionNet:
    """A network taught with the people called ``names``."""

    def drawn(name: str) -> tuple[np.ndarray, np.ndarray]:
        return samples(person(folder / f"{name}.nii.gz", placed[name]), _PAINTINGS, int(name[-2:]))

    images, truths = zip(*Parallel(_JOBS)(delayed(drawn)(name) for name in names))
    return trained(np.concatenate(images), np.concatenate(truths), _STEPS)


def check(folder: Path, placed: Placed) -> None:
    """Sides that reach both goals, by style, each person with a network taught with the other half of the people."""
    names = sorted(placed)
    networks = {}
    for half in (names[::2], names[1::2]):
        session = new_session(exported(taught(folder, placed, [name for name in names if name not in half])))
        networks |= dict.fromkeys(half, session)
    for number, thickness in enumerate(STYLES):
        found = []
        for head in label_heads(folder, thickness):
            region_net.network = lambda file, session=networks[head.name]: session
            masks = propose(head.volume, placed[head.name][number]).masks
            for side, truth in head.sublentiform.items():
                found.append(compared(masks[SUBLENTIFORM[side]], truth, head.volume.grid))
        good = sum(score >= 0.65 and distance <= 3 for score, distance, _ in found)
        kind = f"crisp, {thickness:.0f} mm" if thickness else "soft"
        print(f"{kind:12s} {good} of {len(found)} sides, mean Dice {np.mean([score for score, *_ in found]):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, help="folder of label maps (see labelheads.py)")
    parser.add_argument("--check", action="store_true", help="held-out figures instead of a file")
    arguments = parser.parse_args()
    placed: Placed = {}
    for anatomies in Parallel(_JOBS)(delayed(placed_heads)(arguments.labels, style) for style in STYLES):
        for name, anatomy in anatomies.items():
            placed.setdefault(name, []).append(anatomy)
    print("placed", flush=True)
    if arguments.check:
        check(arguments.labels, placed)
        return
    network = taught(arguments.labels, placed, [name for name in sorted(placed) if name not in LEFT_OUT])
    folder = ROOT / "CNSIFusion" / "cnsifusion" / "resources" / "template"
    (folder / REGION_B).write_bytes(exported(network))


if __name__ == "__main__":
    main()
