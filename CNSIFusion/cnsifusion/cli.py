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
from typing import Any

from cnsifusion import __version__
from cnsifusion.errors import BadInput, Cancelled, failure
from cnsifusion.models.settings import MODELS
from cnsifusion.terminal import Output, counted, silence_libraries

RESEARCH_ONLY = "Research use only: not for diagnosis."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. One sentence on stderr for whatever goes wrong."""
    options = _parser().parse_args(arguments)
    silence_libraries()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _cancel_on_signals()
    output = Output(jsonl=getattr(options, "progress", None) == "jsonl")
    try:
        options.run(options, output)
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
    names = _assignments(options.assign)
    words = (options.image, options.rois, options.region, options.engine, options.settings, names)
    table = features_of_file(*words, output)
    table.write(options.output)
    sizes = f"{len(table)} instances, {len(table.names)} features ({table.metadata['engine']})"
    warnings = table.metadata["warnings"]
    done = {"features": str(options.output), "warnings": warnings}
    output.done(done, f"{sizes}: {options.output}", *_warned(warnings))


def _warned(warnings: Sequence[str]) -> list[str]:
    return [f"warning: {sentence}" for sentence in warnings]


def _assignments(words: Sequence[str]) -> dict[str, str] | None:
    """``--assign "1=CSF ventricles"`` words as a mapping from label values or segment names to protocol names."""
    pairs = [word.partition("=") for word in words]
    if any(not (source and name) for source, _, name in pairs):
        raise BadInput('Write assignments as LABEL=NAME, for example --assign "1=CSF ventricles".')
    return {source: name for source, _, name in pairs} or None


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
    words = (options.image, options.output, options.rois, options.bundle, output, _assignments(options.assign))
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
        patients = find_patients(options.manifest, options.output)
    else:
        from cnsifusion.training.manifest import read_manifest

        listed = read_manifest(options.manifest, folds=0, labels="ignored")
        patients = [Patient(p.patient_id, (p.image,), p.rois) for p in listed.patients]
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


# ---- words -----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cnsifusion", description=f"Infection probability from an axial T2 brain MRI. {RESEARCH_ONLY}"
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable, text: str, *, progress: bool = False, output: str = ""
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text}. {RESEARCH_ONLY}")
        sub.set_defaults(run=run)
        if output:
            sub.add_argument("-o", "--output", type=Path, required=True, help=output)
        if progress:
            sub.add_argument("--progress", choices=["jsonl"], help="print progress as JSON lines on stdout")
        return sub

    image: dict[str, Any] = {"type": Path, "help": "NIfTI, NRRD, MetaImage or a DICOM folder"}
    text = "which labels or segments of the region file are which of the protocol's regions"
    assign: dict[str, Any] = {"nargs": "*", "default": [], "metavar": "LABEL=NAME", "help": text}
    check = command("check", _check, "Is this an axial T2 of a brain? ok | warn | refuse, with reasons")
    check.add_argument("image", **image)
    check.add_argument("--json", action="store_true", help="print JSON")

    propose = command("propose", _propose, "Propose regions and PVS-like foci", progress=True, output="ROIS.seg.nrrd")
    propose.add_argument("image", **image)

    features = command("features", _features, "Radiomics by instance", progress=True, output="FEATURES.csv, .parquet")
    features.add_argument("image", **image)
    features.add_argument("rois", type=Path, help="region file (.seg.nrrd, labelmap, DICOM SEG)")
    features.add_argument("--region", choices=["ventricles", "sublentiform", "all"], default="all")
    features.add_argument("--engine", choices=["native", "pyradiomics"], default="native")
    features.add_argument("--assign", **assign)
    features.add_argument("--settings", type=Path, help="JSON file of radiomics settings")

    analyze = command(
        "analyze", _analyze, "Infection probability of one patient", progress=True, output="result folder"
    )
    analyze.add_argument("image", **image)
    analyze.add_argument("--rois", type=Path, help="region file; proposed when absent")
    analyze.add_argument("--assign", **assign)
    analyze.add_argument("--bundle", type=Path, help="model bundle; the demonstration bundle when absent")

    report = command("report", _report, "Write the report of a result", output="FILE.html or FILE.pdf")
    report.add_argument("result", type=Path, help="result.json")
    report.add_argument("--patient", default="", help="whom the report names (default: nobody)")

    dicom = command("dicom", _dicom, "Write a result as DICOM SEG and SR", output="folder")
    dicom.add_argument("result", type=Path, help="result.json")
    dicom.add_argument("--image", type=Path, required=True, help="DICOM folder of the analyzed series")
    dicom.add_argument("--confirm-demonstration", action="store_true", help="export a demonstration bundle's score too")

    _cohort_words(command)

    bundle = commands.add_parser("bundle", help="Verify a model bundle or show its card")
    bundle.add_argument("what", choices=["verify", "card"])
    bundle.add_argument("directory", type=Path)
    bundle.set_defaults(run=_bundle)

    command("worker", _worker, "Warm worker: JSON requests on stdin, answers on stdout")

    app = command("app", _app, "The browser face on 127.0.0.1")
    app.add_argument("image", nargs="?", **image)
    app.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    app.add_argument("--no-browser", action="store_true", help="only print the address")
    return parser


def _cohort_words(command: Callable[..., argparse.ArgumentParser]) -> None:
    simulate = command("simulate", _simulate, "Simulate a cohort with known truth", progress=True)
    simulate.add_argument("output", type=Path, metavar="OUTDIR")
    simulate.add_argument("--patients", type=int, required=True, help="how many infected")
    simulate.add_argument("--controls", type=int, required=True, help="how many not infected")
    simulate.add_argument("--seed", type=int, required=True)
    simulate.add_argument("--effect", choices=["none", "sublentiform", "ventricles", "both"], default="both")
    simulate.add_argument("--pattern", choices=["fine", "coarse", "spatial"], default="fine")
    simulate.add_argument("--strength", type=float, default=1.0, help="of the effect; 0 is none")
    text = "linked with the label without disease: comma-separated, of noise, sharpness, site, age"
    simulate.add_argument("--confounders", type=_names, default=(), help=text)
    simulate.add_argument("--view", choices=["head", "deep"], default="head", help="deep: around region B only")
    simulate.add_argument("--jobs", type=_processes, default=1, help="processes on this machine")

    cohort = command(
        "cohort", _cohort, "The same for every patient of a manifest or folder", progress=True, output="table or folder"
    )
    cohort.add_argument("what", choices=["features", "analyze"])
    cohort.add_argument("manifest", type=Path, help="MANIFEST.csv; analyze also takes a folder of images or DICOM")
    cohort.add_argument("--bundle", type=Path, help="analyze: model bundle; the demonstration bundle when absent")
    regions = ["ventricles", "sublentiform", "all"]
    cohort.add_argument("--region", choices=regions, default="all", help="features: which instances")
    cohort.add_argument("--settings", type=Path, help="features: JSON file of training settings")
    _machines(cohort)

    text = "Train a backbone without labels on simulated patients"
    pretrain = command("pretrain", _pretrain, text, progress=True, output="WEIGHTS.pt")
    train = command("train", _train, "Train a model bundle from a manifest", progress=True, output="bundle folder")
    evaluate = command("evaluate", _evaluate, "Nested cross-validation of models", progress=True, output="folder")
    for sub in (pretrain, train, evaluate):
        sub.add_argument("manifest", type=Path, help="MANIFEST.csv")
        sub.add_argument("--region", choices=["ventricles", "sublentiform"], required=True)
        sub.add_argument("--settings", type=Path, help="JSON file of training settings")
        sub.add_argument("--seed", type=int, help="of every random draw; default: the settings', else 0")
        _machines(sub)
    for sub in (train, evaluate):
        sub.add_argument("--allow-random-backbone", action="store_true", help="networks that start from no weights")
        sub.add_argument("--backbone-weights", type=Path, help="file or folder of weights (ImageNet or pre-trained)")
    for sub in (pretrain, train):
        sub.add_argument("--model", required=True, help=f"one of {', '.join(MODELS)}")
    train.add_argument("--name", help="of the bundle, on its card; default: model and region")
    text = 'who they were, for the card: "normal neurological findings", for example'
    train.add_argument("--kind-of-controls", dest="controls", metavar="TEXT", help=text)
    pretrain.add_argument("--steps", type=int, default=500, help="batches of 16 patches")
    evaluate.add_argument("--models", type=_names, required=True, help=f"comma-separated, of {', '.join(MODELS)}")
    evaluate.add_argument("--permute-labels", action="store_true", help="shuffle labels between patients")


def _processes(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError("must be a number of processes, at least 1")


def _names(text: str) -> tuple[str, ...]:
    """What stands between commas, without blanks and empty parts."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _machines(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--jobs", type=_processes, default=1, help="processes on this machine")
    sub.add_argument("--scheduler", help="address of a dask scheduler")
    sub.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")


if __name__ == "__main__":
    raise SystemExit(main())
