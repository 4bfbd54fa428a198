#!/usr/bin/env python3
"""What the shipped bundle's two maps point to, on simulated heads whose perivascular spaces are known exactly.

For infected patients of a seed that no bundle was trained on: the share of a map's mass inside the regions that lies on
true perivascular spaces (with 1 mm around), divided by their share of the area (chance, 1.00) and set beside a blurred
middle of the region. Seconds are this process's CPU time. Prints; judges nothing.

python Testing/benchmarks/explanations.py [PATIENTS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine" / "analysis"))
from simulated_spaces import FIRST_SEED, measure

from cnsifusion.bundles import default_bundle_dir, load_bundle


def main() -> None:
    """Print the ratios' means with their standard errors, and how many patients are above the blurred middle."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    bundle = load_bundle(default_bundle_dir())
    seconds: dict[str, list[float]] = {"network": [], "LoG map": []}
    found = [r for n in range(count) if (r := measure(bundle, FIRST_SEED + n, seconds)) is not None]
    print(f"{bundle.settings.name}: {len(found)} of {count} simulated patients with perivascular spaces")
    print("share of the map on true perivascular spaces, as a multiple of chance:")
    for name in found[0]:
        values = np.array([r[name] for r in found])
        line = f"  {name:15} {values.mean():.2f} +- {values.std(ddof=1) / np.sqrt(len(values)):.2f}"
        if name != "blurred middle":
            middle = np.array([r["blurred middle"] for r in found])
            p = {k: wilcoxon(values - other, alternative="greater").pvalue for k, other in
                 (("chance", 1.0), ("middle", middle))}  # fmt: skip
            line += f"   p against chance {p['chance']:.2g}, against the middle {p['middle']:.2g}"
        print(line)
    for name, spent in seconds.items():
        print(f"  CPU s a patient, {name}: median {np.median(spent):.2f}, largest {max(spent):.2f}")


if __name__ == "__main__":
    main()
