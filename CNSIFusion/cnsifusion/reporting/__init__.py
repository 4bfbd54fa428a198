"""Reports of a PatientResult: HTML and PDF; DICOM in cnsifusion.reporting.dicom."""

from __future__ import annotations

from pathlib import Path

from jinja2 import UndefinedError

from cnsifusion.analysis import PatientResult, read_result
from cnsifusion.errors import BadInput
from cnsifusion.imaging import Volume, write_text
from cnsifusion.roi.case import Case
from cnsifusion.roi.regions import RegionSet


def write_report_beside(result: PatientResult, case: Case, maps: dict[str, Volume], folder: Path) -> dict[str, str]:
    """``draw_report`` as the analysis calls it."""
    return draw_report(result, case.volume, case.regions, maps, folder)


def draw_report(
    result: PatientResult, volume: Volume, regions: RegionSet, maps: dict[str, Volume], folder: Path
) -> dict[str, str]:
    """Draw ``result`` with its ``maps`` (by the result's fields) into ``folder``: key images and the HTML report.

    Returns the files' names by their role.
    """
    from cnsifusion.reporting.html import render
    from cnsifusion.reporting.pictures import key_images

    picture = key_images(result, volume, regions, [maps[key] for key, _, _ in result.maps])
    (folder / "key_images.png").write_bytes(picture)
    (folder / "report.html").write_text(render(result, picture), "utf-8")
    return {"key_images": "key_images.png", "report": "report.html"}


def write_report(result_path: str | Path, out: str | Path, patient: str = "") -> None:
    """Write the report of a result.json to ``out`` (.html or .pdf), atomically; it names the ``patient`` only if given.

    Raises BadInput for another ending, or when the result or its key images are missing.
    """
    from cnsifusion.reporting.html import render

    suffix = Path(out).suffix.lower()
    if suffix not in (".html", ".pdf"):
        raise BadInput("The report's name must end in .html or .pdf.")
    result = read_result(result_path)
    try:
        picture = (Path(result_path).parent / result.files["key_images"]).read_bytes()
    except (OSError, KeyError) as error:
        raise BadInput("The key images beside the result are missing; run the analysis again.") from error
    try:
        if suffix == ".html":
            write_text(render(result, picture, patient), out)
        else:
            from cnsifusion.reporting.pdf import write_pdf

            write_pdf(result, picture, out, patient)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, UndefinedError) as error:
        raise BadInput("The result or its key images are damaged; run the analysis again.") from error


__all__ = ["draw_report", "write_report", "write_report_beside"]
