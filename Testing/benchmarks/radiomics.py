"""How fast the radiomics engine is, against every way of calling pyradiomics; one run, one table.

    python Testing/benchmarks/radiomics.py [--skip-naive] [--repeats N]

The job is a patient: 512 x 512 x 24 voxels of 0.45 x 0.45 x 5.5 mm, 9 region-slices (6 ventricular, 3 sub-lentiform
with both sides), the original image and 5 (then 7) LoG images, all features: about 5,100 values. The image is made up.
Times are wall and process CPU seconds; ratios are pyradiomics / native. The last table is the cost against the size of
the region, up to a whole brain.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path.pop(0)  # or `import radiomics` would find this file instead of pyradiomics

import logging

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from cnsifusion.imaging.grid import Grid
from cnsifusion.imaging.volume import Volume
from cnsifusion.radiomics import RadiomicsSettings, RegionMask, extract

SHAPE, SPACING = (24, 512, 512), (0.45, 0.45, 5.5)
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
VENTRICLE_PIXELS = {10: 168, 11: 40, 13: 2416, 14: 4902, 15: 3810, 16: 2884}
SUBLENTIFORM_PIXELS = {9: 634, 10: 754, 11: 634}
SIGMAS = {5: (0.5, 1.0, 1.5, 2.0, 3.0), 7: (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)}


def disc(j: float, i: float, pixels: float, stretch: float = 1.0) -> np.ndarray:
    """An ellipse of about ``pixels`` pixels, ``stretch`` times as long along j as along i."""
    jj, ii = np.ogrid[: SHAPE[1], : SHAPE[2]]
    radius = np.sqrt(pixels / np.pi)
    return ((jj - j) / np.sqrt(stretch)) ** 2 + ((ii - i) * np.sqrt(stretch)) ** 2 <= radius**2


def patient() -> tuple[Volume, list[RegionMask], np.ndarray]:
    """A synthetic head in normalised units (100 = one robust SD of white matter), its regions and its brain mask."""
    rng = np.random.default_rng(7)
    head = np.stack([disc(256, 256, 90000 - 250 * (k - 12) ** 2, 1.3) for k in range(SHAPE[0])])
    tissue = gaussian_filter(rng.normal(size=SHAPE), (0.4, 7, 7))
    image = np.where(tissue > 0.01, 600.0, 0.0)
    image += gaussian_filter(rng.normal(size=SHAPE), (0, 2, 2)) * 900
    regions = []
    for k, pixels in VENTRICLE_PIXELS.items():
        halves = disc(240, 256 - 34, pixels / 2, 3.0) | disc(240, 256 + 34, pixels / 2, 3.0)
        mask = halves if pixels > 1000 else disc(300, 256, pixels)
        image[k][gaussian_filter(mask.astype(float), 1) > 0.4] = 2300
        regions.append(RegionMask("ventricles", mask, k))
    for k, pixels in SUBLENTIFORM_PIXELS.items():
        mask = disc(262, 256 - 46, pixels / 2) | disc(262, 256 + 46, pixels / 2)
        for j, i in np.argwhere(mask)[rng.integers(0, mask.sum(), 8)]:
            image[k][disc(j, i, rng.uniform(4, 16))] = 1800
        regions.append(RegionMask("sublentiform", mask, k))
    image = gaussian_filter(np.where(head, image, -1500), (0.3, 1.2, 1.2)) + rng.normal(0, 60, SHAPE)
    grid = Grid(SHAPE[::-1], SPACING, (0.0, 0.0, 0.0), IDENTITY)
    return Volume(image.astype(np.float32), grid), regions, head


def timed(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median wall and CPU seconds of ``call``."""
    wall, cpu = [], []
    for _ in range(repeats):
        w, c = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
    return statistics.median(wall), statistics.median(cpu)


def mask_images(volume: Volume, regions: list[RegionMask]) -> list[sitk.Image]:
    out = []
    for region in regions:
        whole = np.zeros(SHAPE, bool)
        whole[region.slice_index] = region.mask
        out.append(volume.with_array(whole).to_sitk())
    return out


def stock_extractor(settings: RadiomicsSettings, **options: object):
    import radiomics.featureextractor

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    extractor = radiomics.featureextractor.RadiomicsFeatureExtractor(force2D=True, **options)
    extractor.disableAllFeatures()
    for kind in settings.feature_classes:
        extractor.enableFeatureClassByName(kind)
    extractor.enableImageTypeByName("Original", customArgs={"binWidth": settings.width_of("original")})
    log = {"sigma": list(settings.log_sigmas_mm), "binWidth": settings.width_of("log-sigma-1-0-mm-3D")}
    extractor.enableImageTypeByName("LoG", customArgs=log)
    return extractor


def naive(volume: Volume, regions: list[RegionMask], settings: RadiomicsSettings) -> Callable[[], object]:
    """As people call it: one ``execute`` per region-slice."""
    extractor, image, masks = stock_extractor(settings), volume.to_sitk(), mask_images(volume, regions)
    return lambda: [extractor.execute(image, mask) for mask in masks]


def precropped(volume: Volume, regions: list[RegionMask], settings: RadiomicsSettings) -> Callable[[], object]:
    """With preCrop, padded by 10 sigma so that the crop's edge stays out of the region."""
    pad = int(np.ceil(10 * max(settings.log_sigmas_mm) / SPACING[0]))
    extractor = stock_extractor(settings, preCrop=True, padDistance=pad)
    image, masks = volume.to_sitk(), mask_images(volume, regions)
    return lambda: [extractor.execute(image, mask) for mask in masks]


def organised(volume: Volume, regions: list[RegionMask], settings: RadiomicsSettings) -> Callable[[], object]:
    """pyradiomics' classes used as well as possible: LoG once, on a crop 10 sigma wider than all regions; no
    diagnostics, no repeated mask checks.
    """
    import radiomics.imageoperations as operations

    extractor = stock_extractor(settings, additionalInfo=False)
    image, masks = volume.to_sitk(), mask_images(volume, regions)
    union = volume.with_array(np.any([sitk.GetArrayViewFromImage(m) for m in masks], axis=0)).to_sitk()

    def run() -> None:
        whole, _ = operations.checkMask(image, union)
        for name, options in [
            ("original", extractor.enabledImagetypes["Original"]),
            *((s, {"binWidth": extractor.enabledImagetypes["LoG"]["binWidth"]}) for s in settings.log_sigmas_mm),
        ]:
            filtered, crops = image, masks
            if name != "original":
                pad = int(np.ceil(10 * name / SPACING[0]))
                filtered, _ = operations.cropToTumorMask(image, image, whole, padDistance=pad)
                filtered = next(operations.getLoGImage(filtered, None, sigma=[name]))[0]
            for mask in crops:
                if name != "original":
                    mask, _ = operations.cropToTumorMask(mask, mask, whole, padDistance=pad)
                box = bounding_box(mask)
                small, small_mask = operations.cropToTumorMask(filtered, mask, box)
                extractor.computeFeatures(small, small_mask, str(name), **extractor.settings, **options)
                if name == "original":
                    extractor.computeShape(image, mask, box, **extractor.settings)

    return run


def bounding_box(mask: sitk.Image) -> np.ndarray:
    index = np.nonzero(sitk.GetArrayViewFromImage(mask))[::-1]
    return np.array([[n.min(), n.max()] for n in index]).ravel()


def speed(repeats: int, skip_naive: bool) -> None:
    volume, regions, _ = patient()
    for count, sigmas in SIGMAS.items():
        settings = RadiomicsSettings(log_sigmas_mm=sigmas)
        started = time.perf_counter()
        table = extract(volume, regions, settings)
        first = time.perf_counter() - started
        wall, cpu = timed(lambda s=settings: extract(volume, regions, s), repeats)
        print(f"\n{count} sigmas, {table.values.size} values; first call {first:.3f} s")
        print(f"{'':34}{'wall s':>9}{'cpu s':>9}{'wall ratio':>12}{'cpu ratio':>11}")
        print(f"{'native engine':34}{wall:9.4f}{cpu:9.4f}")
        rows = [("pyradiomics, best organised", organised, 3), ("pyradiomics, preCrop 10 sigma", precropped, 1)]
        if count == 5 and not skip_naive:
            rows.append(("pyradiomics, execute per slice", naive, 1))
        for label, build, times in rows:
            other_wall, other_cpu = timed(build(volume, regions, settings), times)
            print(f"{label:34}{other_wall:9.3f}{other_cpu:9.3f}{other_wall / wall:12.1f}{other_cpu / cpu:11.1f}")


def linearity(repeats: int) -> None:
    volume, _, head = patient()
    print(f"\n{'region':26}{'pixels':>9}{'cpu s':>9}{'us/pixel':>10}   (original + 5 LoG)")
    for pixels in (500, 2000, 8000, 32000):
        mask = disc(256, 256, pixels)
        report("one slice", [RegionMask("r", mask, 12)], volume, repeats)
    for thick in (4, 12, 24):
        whole = np.zeros(SHAPE, bool)
        whole[12 - thick // 2 : 12 + thick // 2] = head[12 - thick // 2 : 12 + thick // 2]
        report(f"whole brain, {thick} slices", [RegionMask("r", whole)], volume, 1)
    print(f"\n{'sigmas':26}{'':9}{'cpu s':>9}{'ms/image':>10}   (the patient's 9 regions)")
    regions = patient()[1]
    for n in (1, 3, 5, 7):
        settings = RadiomicsSettings(log_sigmas_mm=SIGMAS[7][:n])
        _, cpu = timed(lambda s=settings: extract(volume, regions, s), repeats)
        print(f"{n:<26}{'':9}{cpu:9.4f}{1000 * cpu / (n + 1):10.2f}")


def report(label: str, regions: list[RegionMask], volume: Volume, repeats: int) -> None:
    pixels = sum(int(r.mask.sum()) for r in regions)
    _, cpu = timed(lambda: extract(volume, regions, RadiomicsSettings()), repeats)
    print(f"{label:26}{pixels:9d}{cpu:9.4f}{1e6 * cpu / pixels:10.2f}")


def memory(job: str, stored: str) -> None:
    """Peak resident memory of one job on the ``stored`` image, and what imports and image take before it."""
    volume = Volume(np.load(stored)["image"], Grid(SHAPE[::-1], SPACING, (0.0, 0.0, 0.0), IDENTITY))
    masks, slices = np.load(stored)["masks"], np.load(stored)["slices"]
    regions = [RegionMask("r", mask, int(k)) for mask, k in zip(masks, slices)]
    if job == "brain":
        regions = [RegionMask("brain", np.load(stored)["brain"])]
    before = peak_memory()
    extract(volume, regions, RadiomicsSettings())
    after = peak_memory()
    print(f"peak memory, {job}: {after:.0f} MB ({before:.0f} MB before the call)")


def peak_memory() -> float:
    """Peak resident megabytes of this process (Linux; getrusage would count the process that started it)."""
    line = next(n for n in Path("/proc/self/status").read_text().splitlines() if n.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def memory_of_all() -> None:
    """Each job in a fresh process, which did not make the image itself."""
    volume, regions, head = patient()
    with tempfile.TemporaryDirectory() as folder:
        stored = str(Path(folder) / "patient.npz")
        masks, slices = [r.mask for r in regions], [r.slice_index for r in regions]
        np.savez(stored, image=volume.array, masks=masks, slices=slices, brain=head)
        for job in ("patient", "brain"):
            subprocess.run([sys.executable, __file__, "--memory", job, stored], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--skip-naive", action="store_true", help="leave out the minute-long denominator")
    parser.add_argument("--only", choices=("speed", "linearity", "memory"), help="one part alone")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory(*options.memory)
        return
    if options.only in (None, "speed"):
        speed(options.repeats, options.skip_naive)
    if options.only in (None, "linearity"):
        linearity(max(1, options.repeats // 3))
    if options.only in (None, "memory"):
        memory_of_all()


if __name__ == "__main__":
    main()
