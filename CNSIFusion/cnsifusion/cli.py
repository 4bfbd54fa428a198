"""``cnsifusion``: the command line. Files in, files out; exit codes 0 ok, 2 bad input, 3 bundle, 4 memory, 5 cancelled.

Every command imports what it needs when it runs, so that a radiologist's machine never loads training libraries.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from cnsifusion import __version__
from cnsifusion.arguments import RESEARCH_ONLY, asks_for_json, parser
from cnsifusion.errors import BadInput, Cancelled, failure
from cnsifusion.terminal import Output, counted, silence_libraries


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. One sentence on stderr for whatever goes wrong."""
    words = sys.argv[1:] if arguments is None else arguments
    silence_libraries()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _cancel_on_signals()
    output = Output(jsonl=asks_for_json(words))
    try:
        options = parser().parse_args(words)
        _COMMANDS[options.command](options, output)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away; there is nobody to tell
        return Cancelled.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  a traceback may name a patient
        output.failed(error)
        return failure(error).exit_code
    return 0


def _cancel_on_signals() -> None:
    """Other signals end a command as Ctrl+C does: what catches one patient's errors must not catch this one."""

    def cancel(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), cancel)


# ---- one patient -----------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.analysis import Analyzer

    report = Analyzer().check(options.image, output)
    words = [f"verdict: {report.verdict}", *(f"  {f.level:6} {f.text}" for f in report.findings)]
    output.done({}, *([json.dumps(report.to_dict(), indent=1)] if options.json else words))
    if report.verdict == "refuse":
        raise BadInput("The image is refused: " + " ".join(report.reasons))


def _propose(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.analysis import Analyzer

    check, regions = Analyzer().propose(options.image, options.output, output)
    millilitres = regions.grid.voxel_volume / 1000
    volumes = [f"{name}: {mask.sum() * millilitres:.2f} ml" for name, mask in regions.masks.items()]
    notes = [f"note: {sentence}" for sentence in [*check.reasons, *regions.withheld.values(), *regions.notes]]
    output.done({"rois": str(options.output)}, *volumes, *notes)


def _features(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.analysis.features import features_of_file
    from cnsifusion.radiomics import FeatureTable

    FeatureTable.check_file(options.output)
    words = (options.image, options.rois, options.region, options.engine, options.settings, dict(options.assign))
    table = features_of_file(*words, output)
    table.write(options.output)
    sizes = f"{len(table)} instances, {len(table.names)} features ({table.metadata['engine']})"
    warnings = table.metadata["warnings"]
    done = {"features": str(options.output), "warnings": warnings}
    output.done(done, f"{sizes}: {options.output}", *_warned(warnings))


def _warned(warnings: Sequence[str]) -> list[str]:
    return [f"warning: {sentence}" for sentence in warnings]


def _analyze(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.analysis import Analyzer
    from cnsifusion.analysis.analyze import FILES
    from cnsifusion.analysis.worker import done_event
    from cnsifusion.reporting import write_report_beside

    others = [name for name in FILES if (options.output / name).exists()]
    if others and not (options.output / "result.json").exists():
        raise BadInput(f"The output folder holds a {others[0]} that no analysis wrote; choose another, or it is lost.")
    if options.assign and not options.rois:
        raise BadInput("--assign names the labels of a region file: give one with --rois.")
    words = (options.image, options.output, options.rois, options.bundle, output, dict(options.assign))
    result = Analyzer(write_report_beside).analyze(*words)
    score = result.patient
    spread = f"range over fold models {score.low:.1%} to {score.high:.1%}"
    above = f"{result.slices_above} ({score.threshold:.2f})"
    demonstration = f"DEMONSTRATION, not meaningful for patients: {result.demonstration_text}"
    output.done(
        done_event(result, options.output),
        f"Infection probability: {score.probability:.1%} ({spread})",
        f"{above}. {RESEARCH_ONLY}",
        *([demonstration] if result.demonstration else []),
        *_warned([*result.warnings, *result.out_of_distribution]),
        f"Report: {Path(options.output) / result.files['report']}",
    )


def _report(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.reporting import write_report

    write_report(options.result, options.output, options.patient)
    print(f"Report: {options.output}")


def _dicom(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.reporting.dicom import export_dicom

    for path in export_dicom(options.result, options.image, options.output, options.confirm_demonstration):
        print(path)


def _worker(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.analysis import Analyzer
    from cnsifusion.analysis.worker import serve
    from cnsifusion.reporting import html, pictures, write_report_beside  # noqa: F401  (read now, not for the first)

    emit = Output(jsonl=True)
    emit({"event": "ready", "version": __version__})
    analyzer = Analyzer(write_report_beside)
    analyzer.warm_up()
    serve(sys.stdin, emit, analyzer, {"dicom": _export})


def _export(request: dict, emit: Callable[[dict], None], analyzer: object) -> dict:
    """The worker's "dicom": the DICOM objects of ``result`` for the series in ``image``."""
    from cnsifusion.reporting.dicom import export_dicom

    if not request["result"]:
        raise BadInput("The request needs a result.")
    written = export_dicom(request["result"], request["image"], request["out"], request["confirm"] is True)
    return {"event": "done", "files": [str(path) for path in written]}


def _app(options: argparse.Namespace, output: Output) -> None:
    if not 0 <= options.port < 1 << 16:
        raise BadInput("The port is a number up to 65535; 0 chooses a free one.")
    print("Starting the browser page; its address follows. Ctrl+C ends it.", file=sys.stderr)
    try:
        from cnsifusion.web.app import run
    except ModuleNotFoundError as error:
        raise BadInput(
            f"The browser face needs the extra 'web' ({error.name} is missing): pip install '.[web]'."
        ) from error
    run(options.image, options.port, not options.no_browser)


# ---- cohorts ---------------------------------------------------------------------------------------------------------


def _simulate(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.simulation import SimulationSettings, simulate_cohort

    settings = SimulationSettings(
        effect=options.effect, pattern=options.pattern, strength=options.strength, confounders=options.confounders
    )
    manifest = simulate_cohort(
        options.output, options.patients, options.controls, options.seed, settings, jobs=options.jobs,
        progress=counted(output), view=options.view,
    )  # fmt: skip
    output.done({"manifest": str(manifest)}, f"Manifest: {manifest}")


def _training():
    try:
        from cnsifusion.training import commands
    except ModuleNotFoundError as error:
        raise BadInput(
            f"This command needs the extra 'train' ({error.name} is missing): pip install '.[train]'."
        ) from error
    return commands


def _cohort(options: argparse.Namespace, output: Output) -> None:
    if options.what == "features":
        if options.bundle:
            raise BadInput("cohort features uses no bundle: leave out --bundle.")
        table, warnings = _training().cohort_features(options, counted(output))
        output.done({"features": str(table), "warnings": warnings}, *_warned(warnings), f"Features: {table}")
        return
    from cnsifusion.analysis import Analyzer
    from cnsifusion.analysis.batch import Patient, analyze_patients, find_patients
    from cnsifusion.analysis.worker import batch_event
    from cnsifusion.reporting import write_report_beside

    if options.scheduler or options.jobs != 1 or options.region != "all" or options.settings:
        text = "runs one patient after the other, on the bundle's region and by its settings"
        raise BadInput(f"cohort analyze {text}: leave out --jobs, --scheduler, --region and --settings.")
    if options.manifest.is_dir():
        if options.assign:
            raise BadInput("--assign names the labels of region files: a folder has none, give a manifest.")
        patients = find_patients(options.manifest, options.output)
    else:
        from cnsifusion.training.manifest import read_manifest

        listed = read_manifest(options.manifest, folds=0, labels="ignored", names=dict(options.assign))
        patients = [Patient(p.patient_id, (p.image,), p.rois, listed.names if p.rois else {}) for p in listed.patients]
    analyzer = Analyzer(write_report_beside)
    outcome = analyze_patients(analyzer, patients, options.output, options.bundle, options.resume, output)
    if outcome.failed == len(outcome.rows):
        raise BadInput(f"No patient of {outcome.failed} has a score; the table {outcome.table.name} says why.")
    counts = f"{len(outcome.rows)} patients, {outcome.failed} without a score. {RESEARCH_ONLY}"
    output.done(batch_event(outcome), counts, f"Table: {outcome.table}")


def _pretrain(options: argparse.Namespace, output: Output) -> None:
    weights = _training().pretrain(options, counted(output))
    output.done({"weights": str(weights)}, f"Weights: {weights}")


def _train(options: argparse.Namespace, output: Output) -> None:
    bundle, warnings = _training().train(options, counted(output))
    output.done({"bundle": str(bundle), "warnings": warnings}, *_warned(warnings), f"Bundle: {bundle}")


def _evaluate(options: argparse.Namespace, output: Output) -> None:
    report, warnings = _training().evaluate(options, counted(output))
    output.done({"report": str(report), "warnings": warnings}, *_warned(warnings), f"Report: {report}")


def _bundle(options: argparse.Namespace, output: Output) -> None:
    from cnsifusion.analysis import Analyzer
    from cnsifusion.bundles import bundle_card

    if options.what == "card":
        output.done({}, bundle_card(options.directory))
    else:
        output.done({}, f"The bundle is whole and usable; SHA-256 {Analyzer().bundle(options.directory).sha256}.")


_COMMANDS: dict[str, Callable[[argparse.Namespace, Output], None]] = {
    "check": _check, "propose": _propose, "features": _features, "analyze": _analyze, "report": _report,
    "dicom": _dicom, "simulate": _simulate, "cohort": _cohort, "pretrain": _pretrain, "train": _train,
    "evaluate": _evaluate, "bundle": _bundle, "worker": _worker, "app": _app,
}  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(main())
