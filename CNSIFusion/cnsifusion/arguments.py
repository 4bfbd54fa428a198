"""The words of the command line: what may be typed after ``cnsifusion``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cnsifusion import __version__
from cnsifusion.errors import BadInput
from cnsifusion.models.settings import MODELS

RESEARCH_ONLY = "Research use only: not for diagnosis."


class Words(argparse.ArgumentParser):
    """Raises BadInput for words it does not know, so that they are told of as every other fault is."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def _assignment(text: str) -> tuple[str, str]:
    """``1=CSF ventricles`` as a label value or segment name and the protocol's name for it."""
    source, _, name = text.partition("=")
    if source and name:
        return source, name
    raise argparse.ArgumentTypeError('write LABEL=NAME, for example "1=CSF ventricles"')


_ASSIGN: dict[str, Any] = {
    "nargs": "*", "default": [], "type": _assignment, "metavar": "LABEL=NAME",
    "help": "which labels or segments of the region files are which of the protocol's regions",
}  # fmt: skip


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether a program typed these words and reads JSON lines, be the others right or wrong."""
    asked = Words(add_help=False)
    asked.add_argument("--progress", nargs="?")
    return asked.parse_known_args(words)[0].progress == "jsonl"


def parser() -> argparse.ArgumentParser:
    """Reads the words; ``command`` is the first of them."""
    parser = Words(
        prog="cnsifusion", description=f"Infection probability from an axial T2 brain MRI. {RESEARCH_ONLY}"
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")

    def command(name: str, text: str, *, progress: bool = False, output: str = "") -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text}. {RESEARCH_ONLY}")
        if output:
            sub.add_argument("-o", "--output", type=Path, required=True, help=output)
        if progress:
            sub.add_argument("--progress", choices=["jsonl"], help="print progress as JSON lines on stdout")
        return sub

    image: dict[str, Any] = {"type": Path, "help": "NIfTI, NRRD, MetaImage or a DICOM folder"}
    check = command("check", "Is this an axial T2 of a brain? ok | warn | refuse, with reasons")
    check.add_argument("image", **image)
    check.add_argument("--json", action="store_true", help="print JSON")

    propose = command("propose", "Propose regions and PVS-like foci", progress=True, output="ROIS.seg.nrrd")
    propose.add_argument("image", **image)

    features = command("features", "Radiomics by instance", progress=True, output="FEATURES.csv, .parquet")
    features.add_argument("image", **image)
    features.add_argument("rois", type=Path, help="region file (.seg.nrrd, labelmap, DICOM SEG)")
    features.add_argument("--region", choices=["ventricles", "sublentiform", "all"], default="all")
    features.add_argument("--engine", choices=["native", "pyradiomics"], default="native")
    features.add_argument("--assign", **_ASSIGN)
    features.add_argument("--settings", type=Path, help="JSON file of radiomics settings")

    analyze = command(
        "analyze", "Infection probability of one patient", progress=True, output="result folder"
    )
    analyze.add_argument("image", **image)
    analyze.add_argument("--rois", type=Path, help="region file; proposed when absent")
    analyze.add_argument("--assign", **_ASSIGN)
    analyze.add_argument("--bundle", type=Path, help="model bundle; the demonstration bundle when absent")

    report = command("report", "Write the report of a result", output="FILE.html or FILE.pdf")
    report.add_argument("result", type=Path, help="result.json")
    report.add_argument("--patient", default="", help="whom the report names (default: nobody)")

    dicom = command("dicom", "Write a result as DICOM SEG and SR", output="folder")
    dicom.add_argument("result", type=Path, help="result.json")
    dicom.add_argument("--image", type=Path, required=True, help="DICOM folder of the analyzed series")
    dicom.add_argument("--confirm-demonstration", action="store_true", help="export a demonstration bundle's score too")

    _cohort_words(command)

    bundle = commands.add_parser("bundle", help="Verify a model bundle or show its card")
    bundle.add_argument("what", choices=["verify", "card"])
    bundle.add_argument("directory", type=Path)

    command("worker", "Warm worker: JSON requests on stdin, answers on stdout")

    app = command("app", "The browser face on 127.0.0.1")
    app.add_argument("image", nargs="?", **image)
    app.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    app.add_argument("--no-browser", action="store_true", help="only print the address")
    return parser


def _cohort_words(command: Callable[..., argparse.ArgumentParser]) -> None:
    simulate = command("simulate", "Simulate a cohort with known truth", progress=True)
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
        "cohort", "The same for every patient of a manifest or folder", progress=True, output="table or folder"
    )
    cohort.add_argument("what", choices=["features", "analyze"])
    cohort.add_argument("manifest", type=Path, help="MANIFEST.csv; analyze also takes a folder of images or DICOM")
    cohort.add_argument("--bundle", type=Path, help="analyze: model bundle; the demonstration bundle when absent")
    regions = ["ventricles", "sublentiform", "all"]
    cohort.add_argument("--region", choices=regions, default="all", help="features: which instances")
    cohort.add_argument("--settings", type=Path, help="features: JSON file of training settings")
    cohort.add_argument("--assign", **_ASSIGN)
    _machines(cohort)

    text = "Train a backbone without labels on simulated patients"
    pretrain = command("pretrain", text, progress=True, output="WEIGHTS.pt")
    train = command("train", "Train a model bundle from a manifest", progress=True, output="bundle folder")
    evaluate = command("evaluate", "Nested cross-validation of models", progress=True, output="folder")
    for sub in (pretrain, train, evaluate):
        sub.add_argument("manifest", type=Path, help="MANIFEST.csv")
        sub.add_argument("--region", choices=["ventricles", "sublentiform"], required=True)
        sub.add_argument("--settings", type=Path, help="JSON file of training settings")
        sub.add_argument("--seed", type=int, help="of every random draw; default: the settings', else 0")
        _machines(sub)
    for sub in (train, evaluate):
        sub.add_argument("--assign", **_ASSIGN)
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
