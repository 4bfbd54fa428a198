"""Makes ``resources/template/foci.onnx``, the network that says how sure a PVS-like focus is (roi/foci_net.py).

    python Testing/foci_net --labels DIR [--check]

The people of the label maps in DIR (see benchmarks/labelheads.py) are painted as Testing/region_net paints them, with
spaces of known shape planted under their true nuclei. Maps 03 and 19 stay out: synA and synB of the test data are made
from them. An hour on two cores. With ``--check`` nothing is written: the benchmark of planted foci, each person
with a network taught with the other half of the people.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing" / "benchmarks"), str(ROOT / "Testing" / "region_net")]

import plantedfoci  # noqa: E402
from focinet import exported, trained  # noqa: E402
from people import LEFT_OUT, STYLES, person, placed_heads  # noqa: E402
from proposal import label_heads  # noqa: E402
from spaces import samples  # noqa: E402

from cnsifusion.inference import new_session  # noqa: E402
from cnsifusion.roi import foci_net  # noqa: E402
from cnsifusion.roi.anatomy import Anatomy  # noqa: E402
from cnsifusion.roi.networks import FOCI  # noqa: E402

_JOBS, _PAINTINGS, _STEPS = 2, 200, 9000
Samples = tuple[np.ndarray, np.ndarray, np.ndarray]


def drawn(folder: Path, name: str, anatomies: list[Anatomy]) -> Samples:
    """Blobs of the person called ``name``, placed as in ``anatomies``."""
    return samples(person(folder / f"{name}.nii.gz", anatomies), _PAINTINGS, int(name[-2:]))


def together(parts: list[Samples]) -> Samples:
    pictures, constants, truths = zip(*parts)
    return np.concatenate(pictures), np.concatenate(constants), np.concatenate(truths)


def check(folder: Path, blobs: dict[str, Samples]) -> None:
    """The benchmark of planted foci in painted heads, each person with a network taught with the other half of them."""
    names, networks = sorted(blobs), {}
    for half in (names[::2], names[1::2]):
        network = trained(*together([blobs[name] for name in names if name not in half]), _STEPS)
        networks |= dict.fromkeys(half, new_session(exported(network)))
    for thickness in STYLES:
        blur = plantedfoci.CRISP_BLUR if thickness else plantedfoci.BLUR
        table, false = Counter(), Counter()
        for number, head in enumerate(label_heads(folder, thickness)):
            foci_net.network = lambda file, session=networks[head.name]: session
            plantedfoci.measure(head, "painted", blur, number, table, false)
        plantedfoci.report({f"{thickness or 'soft'}": table}, false)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, help="folder of label maps (see labelheads.py)")
    parser.add_argument("--check", action="store_true", help="held-out figures instead of a file")
    arguments = parser.parse_args()
    placed: dict[str, list[Anatomy]] = {}
    for anatomies in Parallel(_JOBS)(delayed(placed_heads)(arguments.labels, style) for style in STYLES):
        for name, anatomy in anatomies.items():
            placed.setdefault(name, []).append(anatomy)
    names = sorted(name for name in placed if arguments.check or name not in LEFT_OUT)
    print("placed", flush=True)
    parts = Parallel(_JOBS)(delayed(drawn)(arguments.labels, name, placed[name]) for name in names)
    blobs = dict(zip(names, parts))
    if arguments.check:
        check(arguments.labels, blobs)
        return
    folder = ROOT / "CNSIFusion" / "cnsifusion" / "resources" / "template"
    (folder / FOCI).write_bytes(exported(trained(*together(list(blobs.values())), _STEPS)))


if __name__ == "__main__":
    main()
