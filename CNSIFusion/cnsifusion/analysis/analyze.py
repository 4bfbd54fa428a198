"""One patient: image + regions + bundle -> PatientResult and its files, written whole or not at all."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import scipy
import SimpleITK as sitk  # noqa: N813

from cnsifusion import __version__
from cnsifusion.analysis.features import THICK_SLICE_MM, extract_features
from cnsifusion.analysis.heads import Head, Heads
from cnsifusion.analysis.heatmap import CellMap, heat_volume
from cnsifusion.analysis.logmap import LOG_CAPTION, log_maps
from cnsifusion.analysis.occlusion import CAPTION, network_maps
from cnsifusion.analysis.progress import (
    ANALYSIS_STEPS,
    EXPLAIN,
    FEATURES,
    LOCATE,
    NETWORK,
    PREPARE,
    PROPOSAL_STEPS,
    PROPOSE,
    READ,
    REPORT,
    Pace,
    StepProgress,
)
from cnsifusion.analysis.result import Contribution, HeatMap, InstanceResult, PatientResult, PatientScore
from cnsifusion.bundles import Bundle, Prediction, default_bundle_dir, load_bundle
from cnsifusion.errors import BadInput, BundleError, CNSIFusionError
from cnsifusion.imaging import CheckReport, PreparationSettings, Volume, check_output, temporary_folder, write_volume
from cnsifusion.imaging.read import content_sha256
from cnsifusion.radiomics import FeatureTable, RadiomicsSettings
from cnsifusion.roi.anatomy import warm_up
from cnsifusion.roi.case import Case, accepted, with_regions
from cnsifusion.roi.instances import Instance, NotClassified, make_instances
from cnsifusion.roi.networks import FOCI, REGION_B, network
from cnsifusion.roi.patches import PatchSettings, cut_patches
from cnsifusion.roi.propose import propose
from cnsifusion.roi.region_io import check_region_file, read_regions, write_regions
from cnsifusion.roi.regions import RegionSet
from cnsifusion.roi.statistics import region_statistics
from cnsifusion.threads import both

#: Draws a result with its case and maps (by name) into a folder; returns file names by role. Given by the caller, since
#: reporting draws results and must not be known here.
Reporter = Callable[[PatientResult, Case, dict[str, Volume], Path], dict[str, str]]
#: What an analysis may leave beside result.json.
FILES = ("rois.seg.nrrd", "heatmap.nii.gz", "logmap.nii.gz", "key_images.png", "report.html")


class Analyzer:
    """Runs analyses one after the other and keeps opened bundles and prepared heads, so that the next one is quick."""

    def __init__(self, reporter: Reporter | None = None) -> None:
        self._reporter = reporter
        self._bundles: dict[tuple[Path, int], Bundle] = {}
        self._heads = Heads()
        self._pace = Pace()
        self._next: tuple[Head, str | Path] | None = None

    def analyze(
        self,
        image: str | Path,
        out: str | Path,
        rois: str | Path | None = None,
        bundle: str | Path | None = None,
        emit: Callable[[dict], None] = lambda event: None,
        names: Mapping[str, str] | None = None,
    ) -> PatientResult:
        """Analyze ``image`` into the folder ``out``: result.json, report.html, rois.seg.nrrd and the maps there are
        (heatmap.nii.gz of the network, logmap.nii.gz of the LoG features).

        ``rois`` is a region file (else regions are proposed), ``bundle`` a model bundle (else the demonstration
        bundle); ``names`` assigns labels or segments of ``rois`` to the protocol's names. Raises BadInput or
        BundleError with one sentence; then nothing is written.
        """
        check_output(out)
        model = self.bundle(Path(bundle) if bundle else default_bundle_dir())
        steps = [step for step in ANALYSIS_STEPS if step != PROPOSE or not rois]
        progress = StepProgress(steps, emit, self._pace.expected(model.sha256, image))
        progress(READ[0])
        head = self._heads.read(image)
        regions = read_regions(rois, head.volume, names) if rois else None
        case = self._case(head, PreparationSettings(**model.settings.preparation), regions, progress)
        progress(FEATURES[0])
        instances, left_out = make_instances(case, model.settings.region, model.settings.submask)
        if not instances:
            reasons = "; ".join(sorted({item.reason for item in left_out}))
            raise BadInput(f"No part of the region '{model.settings.region}' can be classified: {reasons}.")
        table = extract_features(case, instances, RadiomicsSettings.from_dict(model.settings.radiomics))
        progress(NETWORK[0])
        patches, places = cut_patches(case, instances, PatchSettings(**model.settings.patches))
        prediction = model.predict(patches, table.values, table.names)
        progress(EXPLAIN[0])
        result = _result(case, model, instances, left_out, prediction, table)
        maps = {
            "logmap": log_maps(case, instances, model, prediction, table),
            "heatmap": network_maps(case, instances, patches, places, model, prediction, table),
        }
        result, volumes = _with_maps(result, case, maps)
        progress(REPORT[0])
        result = self._write(result, case, volumes, Path(out), rois, progress)
        self._pace.remember(model.sha256, image, progress.seconds)
        return result

    def propose(
        self, image: str | Path, out: str | Path, emit: Callable[[dict], None] = lambda event: None
    ) -> tuple[CheckReport, RegionSet]:
        """Propose regions for ``image`` into the region file ``out`` (.seg.nrrd); returns the check and the regions.

        They need no bias correction: :meth:`get_ahead` prepares the head for an analysis afterwards.
        """
        check_region_file(out)
        progress = StepProgress(PROPOSAL_STEPS, emit, self._pace.expected("propose", image))
        progress(READ[0])
        head = self._heads.read(image)
        examined = self._heads.examined(head, progress)
        anatomy = accepted(examined)
        progress(PROPOSE[0])
        regions = propose(head.volume, anatomy)
        write_regions(regions, out)
        progress.done()
        self._pace.remember("propose", image, progress.seconds)
        self._next = head, image
        return examined[0], regions

    def get_ahead(self) -> None:
        """Prepare the head of the last proposal, while the reader looks at it: then an analysis begins at once."""
        waiting, self._next = self._next, None
        if waiting is None:
            return
        head, image = waiting
        progress = StepProgress((LOCATE, PREPARE), lambda event: None)
        with suppress(CNSIFusionError, MemoryError):  # an analysis says what is wrong
            self._heads.prepared(head, PreparationSettings(), progress)
            progress.done()
            self._pace.remember("propose", image, progress.seconds)

    def warm_up(self) -> None:
        """Read and work out what does not depend on a head, while there is none: 1.2 s less for the first one."""
        with suppress(CNSIFusionError, MemoryError):  # an analysis that needs it says what is wrong
            warm_up()
            network(REGION_B)
            network(FOCI)
            self.bundle(default_bundle_dir())

    def check(self, image: str | Path, emit: Callable[[dict], None] = lambda event: None) -> CheckReport:
        """The whole input check of ``image``; ``emit`` receives the progress."""
        progress = StepProgress((READ, LOCATE), emit)
        progress(READ[0])
        report, _ = self._heads.examined(self._heads.read(image), progress)
        progress.done()
        self._pace.remember("check", image, progress.seconds)
        return report

    def bundle(self, folder: Path) -> Bundle:
        """The bundle in ``folder``, checked as a whole. Raises BundleError where an analysis could not use it."""
        manifest = folder / "bundle.json"
        key = (folder.resolve(), manifest.stat().st_mtime_ns if manifest.exists() else 0)
        if key not in self._bundles:
            bundle = load_bundle(folder)
            _check_settings(bundle)
            self._bundles = {key: bundle}
        return self._bundles[key]

    def _case(
        self, head: Head, preparation: PreparationSettings, regions: RegionSet | None, progress: StepProgress
    ) -> Case:
        """The prepared head with its regions; those that nobody gave are proposed while the image is being prepared."""
        if regions is not None:
            return with_regions(self._heads.prepared(head, preparation, progress), regions)
        anatomy = accepted(self._heads.examined(head, progress))

        def prepared() -> Case:
            case = self._heads.prepared(head, preparation, progress)
            progress(PROPOSE[0])
            return case

        case, proposed = both(prepared, lambda: propose(head.volume, anatomy))
        return replace(case, regions=proposed)

    def _write(
        self, result: PatientResult, case: Case, maps: dict[str, Volume], out: Path, rois, progress: StepProgress
    ) -> PatientResult:
        """All files into a temporary folder, then moved to ``out``.

        A former result.json goes first and the new one comes last: whenever there is one, its files are its own.
        """
        is_new, temporary = not out.exists(), temporary_folder(out)
        try:
            names = {"regions": "rois.seg.nrrd"}
            write_regions(case.regions, temporary / names["regions"])
            regions_sha256 = content_sha256(Path(rois) if rois else temporary / names["regions"])
            for name, volume in maps.items():
                names[name] = f"{name}.nii.gz"
                write_volume(volume, temporary / names[name])
            result = replace(result, files=names, provenance={**result.provenance, "regions_sha256": regions_sha256})
            if self._reporter is not None:
                names |= self._reporter(result, case, maps, temporary)
            progress.done()
            result = replace(result, files=names, seconds=dict(progress.seconds))
            result.write(temporary / "result.json")
            (out / "result.json").unlink(missing_ok=True)
            for former in set(FILES) - set(names.values()):
                (out / former).unlink(missing_ok=True)  # a map of another run, perhaps of another head
            for name in [*names.values(), "result.json"]:
                (temporary / name).replace(out / name)
        except OSError as error:
            raise BadInput(f"The output could not be written ({error.strerror}); is the disk full?") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if is_new:
                with suppress(OSError):  # it holds the result, unless that could not be written
                    out.rmdir()
        return result


def _check_settings(model: Bundle) -> None:
    """Refuse a bundle whose preparation, patches or radiomics this version cannot follow, before an image is read."""
    settings = model.settings
    try:
        PreparationSettings(**settings.preparation)
        PatchSettings(**settings.patches)
        RadiomicsSettings.from_dict(settings.radiomics)
    except (BadInput, TypeError, ValueError) as error:
        text = "preparation, patches or radiomics hold values that this version does not know"
        raise BundleError(f"The model bundle was refused: {text}.") from error


def _result(
    case: Case,
    model: Bundle,
    instances: list[Instance],
    left_out: list[NotClassified],
    prediction: Prediction,
    table: FeatureTable,
) -> PatientResult:
    settings = model.settings
    score = model.patient_score(prediction.logit)
    log_odds = prediction.logit.mean(axis=1)
    probability = model.probability(log_odds)
    explained = _contributions(model, prediction, table)
    results = [
        InstanceResult(
            i.key, i.part, i.side, i.slice_index, _centre(case, i), i.pixels, float(odds), float(p),
            bool(p >= settings.threshold), contributions,
        )
        for i, odds, p, contributions in zip(instances, log_odds, probability, explained)
    ]  # fmt: skip
    above = sum(r.above_threshold for r in results)
    patient = PatientScore(
        score.probability, score.low, score.high, score.log_odds, settings.threshold, settings.default_threshold,
        score.probability >= settings.threshold, above, len(results), settings.cohort.prevalence,
    )  # fmt: skip
    statistics = region_statistics(case.volume, case.regions)
    return PatientResult(
        demonstration=settings.demonstration,
        demonstration_text=settings.demonstration_text,
        region=settings.region,
        model=settings.architecture.model,
        patient=patient,
        instances=results,
        not_classified=[vars(item) for item in left_out],
        contributions=_averaged(explained),
        statistics=statistics,
        pvs={**statistics["left_right"]["pvs_count"], "foci": _foci(case)},
        heatmap=None,
        check=case.check.to_dict(),
        warnings=[*case.check.reasons, *case.doubts, *case.regions.notes, *case.regions.withheld.values()],
        out_of_distribution=_outside(case, model, prediction),
        provenance=_provenance(case, model, table),
        seconds={},
    )


def _with_maps(
    result: PatientResult, case: Case, maps: dict[str, list[CellMap]]
) -> tuple[PatientResult, dict[str, Volume]]:
    """``result`` naming the maps there are ("heatmap", "logmap"), and these as volumes."""
    captions, pixel = {"heatmap": CAPTION, "logmap": LOG_CAPTION}, case.prepared.settings.pixel_mm
    kept = {name: cells for name, cells in maps.items() if cells}
    named = {name: HeatMap(f"{name}.nii.gz", cells[0].pixels * pixel, captions[name]) for name, cells in kept.items()}
    volumes = {name: heat_volume(case, cells) for name, cells in kept.items()}
    return replace(result, heatmap=named.get("heatmap"), logmap=named.get("logmap")), volumes


def _centre(case: Case, instance: Instance) -> tuple[float, float, float]:
    rows, columns = np.nonzero(instance.mask)
    x, y, z = case.prepared.resampled.grid.to_lps(np.array([columns.mean(), rows.mean(), instance.slice_index]))
    return (round(float(x), 2), round(float(y), 2), round(float(z), 2))


def _contributions(model: Bundle, prediction: Prediction, table: FeatureTable) -> list[list[Contribution]]:
    explained = []
    for row, parts in enumerate(model.contributions(prediction)):
        explained.append([
            Contribution("baseline", parts.baseline),
            Contribution("network", parts.network),
            *(_feature_contribution(model, table, row, name, value) for name, value in parts.features.items()),
        ])
    return explained


def _feature_contribution(model: Bundle, table: FeatureTable, row: int, name: str, log_odds: float) -> Contribution:
    value = float(table.column(name)[row])
    if np.isnan(value):
        return Contribution(name, log_odds)
    return Contribution(name, log_odds, value, model.percentile(name, value) / 100)


def _averaged(explained: list[list[Contribution]]) -> list[Contribution]:
    """The patient's view: every part averaged over the instances, the strongest feature first after the blocks."""
    averaged = []
    for parts in zip(*explained):
        values = [p.value for p in parts if p.value is not None]
        quantiles = [p.training_quantile for p in parts if p.training_quantile is not None]
        averaged.append(Contribution(
            parts[0].name, float(np.mean([p.log_odds for p in parts])),
            float(np.mean(values)) if values else None, float(np.mean(quantiles)) if quantiles else None,
        ))  # fmt: skip
    return [*averaged[:2], *sorted(averaged[2:], key=lambda c: -abs(c.log_odds))]


def _foci(case: Case) -> list[dict]:
    """The foci that the proposal drew or found too large, whatever a reader made of them."""
    return [
        {
            "side": f.side, "slice_index": f.ijk[2], "position_mm": [round(v, 2) for v in f.lps],
            "diameter_mm": round(f.diameter_mm, 2), "contrast_to_noise": round(f.contrast_to_noise, 2),
            "confidence": round(f.confidence, 3), "large": f.large,
        }
        for f in case.regions.foci
        if f.likely
    ]  # fmt: skip


def _outside(case: Case, model: Bundle, prediction: Prediction) -> list[str]:
    acquisition, sentences = case.volume.acquisition, []
    quantities = {
        "pixel_mm": max(case.volume.spacing[:2]), "slice_spacing_mm": case.volume.spacing[2],
        "repetition_time_ms": acquisition.repetition_time, "echo_time_ms": acquisition.echo_time,
        "field_strength_t": acquisition.field_strength,
    }  # fmt: skip
    sentences += model.out_of_range(quantities)
    often = {name for names in prediction.out_of_range for name in names}
    if often:
        lie = "lies" if len(often) == 1 else "lie"
        sentences.append(f"{len(often)} of the model's features {lie} far outside the training range.")
    apart = case.volume.spacing[2]
    thick = apart > THICK_SLICE_MM
    mode = model.settings.radiomics.get("log_mode")
    if mode and thick != (mode == "2D"):
        sentences.append(
            f"The model filters {'in plane' if mode == '2D' else 'in 3-D'}, which the protocol keeps for slices "
            f"{'above' if mode == '2D' else 'up to'} {THICK_SLICE_MM:g} mm; these are {apart:.1f} mm apart."
        )
    return sentences


def _provenance(case: Case, model: Bundle, table: FeatureTable) -> dict:
    origin = {name: case.regions.origin.get(name, "unknown") for name in case.regions.masks}
    return {
        "image_sha256": case.volume.sha256,
        "bundle_sha256": model.sha256,
        "bundle_name": model.settings.name,
        "backbone_origin": model.settings.architecture.backbone_origin,
        "region_origin": {k: f"{v}, edited" if k in case.regions.edited else v for k, v in origin.items()},
        "radiomics": {k: table.metadata.get(k) for k in ("engine", "engine_version", "settings_hash")},
        "preparation": case.prepared.settings.to_dict(),
        "versions": {
            "cnsifusion": __version__, "python": platform.python_version(), "numpy": np.__version__,
            "scipy": scipy.__version__, "SimpleITK": sitk.Version.VersionString(),
            "onnxruntime": onnxruntime.__version__,
        },
    }  # fmt: skip

