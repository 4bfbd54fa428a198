"""The packages the engine needs, in every Slicer version: looked for, asked for with list and size, never silent."""

import importlib.metadata
import importlib.util
import logging
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

REQUIREMENTS_FILE = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
DICOM_REQUIREMENTS_FILE = REQUIREMENTS_FILE.with_name("requirements-dicom.txt")
ENGINE_FOLDER = Path(__file__).resolve().parents[1]
_REQUESTER = "CNSIFusion"
_INSTALLED_SETTING = "CNSIFusion/InstalledPackages"


@dataclass(frozen=True)
class Requirement:
    """A package, the lowest version that works, and the download's size in megabytes."""

    name: str
    version: str
    megabytes: int

    def __str__(self) -> str:
        return f"{self.name}>={self.version}"

    @property
    def met(self) -> bool:
        """Whether this Python has the package in a version that works."""
        installed = _installed(self.name)
        return bool(installed) and _numbers(installed) >= _numbers(self.version)


def requirements(path: Path = REQUIREMENTS_FILE) -> list[Requirement]:
    """The requirement file's lines ``name>=version  # megabytes``."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    found = (re.fullmatch(r"([\w.-]+)>=([\d.]+)\s+#\s*(\d+)", line) for line in lines if line and line[0] != "#")
    return [Requirement(m[1], m[2], int(m[3])) for m in found]


def missing(path: Path = REQUIREMENTS_FILE) -> list[Requirement]:
    """What must be installed before the engine can run (or before what another requirement file is for)."""
    return [requirement for requirement in requirements(path) if not requirement.met]


def engineProblem() -> str:
    """Why the engine beside this module is not the one Python would import; "" when it is."""
    spec = importlib.util.find_spec("cnsifusion")
    if spec is None or not spec.origin:
        return _("The engine's folder “cnsifusion” is missing beside this module; install the extension again.")
    if Path(spec.origin).resolve().parents[1] != ENGINE_FOLDER:
        return _(
            "Another copy of cnsifusion in Slicer's Python hides the extension's own ({place}); remove it with "
            "slicer.util.pip_uninstall('cnsifusion') and restart Slicer."
        ).format(place=Path(spec.origin).parent)
    return ""


def confirmInstall(wanted: list[Requirement]) -> bool:
    """Ask the reader, with the list and the size."""
    packages = "\n".join(_("{name}, about {size} MB").format(name=r, size=r.megabytes) for r in wanted)
    text = _(
        "CNSIFusion needs {count} more Python packages, about {size} MB, from the Python Package Index (pypi.org):\n\n"
        "{packages}\n\nInstall them into this Slicer now? No image leaves the computer."
    ).format(count=len(wanted), size=sum(r.megabytes for r in wanted), packages=packages)
    return slicer.util.confirmOkCancelDisplay(text, _("Install packages"))


def install(folder: str = "", confirm=confirmInstall, wanted: list[Requirement] | None = None) -> str:
    """Install what is missing (or ``wanted``) after asking, from the index or from a folder of wheels.

    Returns "" or why it did not happen.
    """
    wanted = missing() if wanted is None else wanted
    if wanted and not confirm(wanted):
        return _("Nothing was installed. The other modules work as before.")
    try:
        _pipInstall([str(requirement) for requirement in wanted], folder)
    except (subprocess.CalledProcessError, RuntimeError) as error:
        logging.error("CNSIFusion: pip failed: %s", error)
        return _(
            "The packages could not be installed; the application log says why. Without internet, bring a folder of "
            "wheels and press “Install from a folder…”."
        )
    _remember([requirement.name for requirement in wanted if requirement.met])
    left = ", ".join(str(requirement) for requirement in wanted if not requirement.met)
    return _("Still missing after the installation: {packages}; restart Slicer.").format(packages=left) if left else ""


def installedByUs() -> list[str]:
    """Names of the packages that :func:`install` brought and that are still there."""
    names = str(slicer.util.settingsValue(_INSTALLED_SETTING, "") or "").split()
    return [name for name in names if _installed(name)]


def removeInstalled() -> str:
    """Take away what :func:`install` brought; "" or why it did not happen."""
    for name in installedByUs():
        try:
            slicer.util.pip_uninstall(name)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            logging.error("CNSIFusion: pip failed: %s", error)
            return _("{name} could not be removed; the application log says why.").format(name=name)
    qt.QSettings().setValue(_INSTALLED_SETTING, "")
    return ""


def _pipInstall(names: list[str], folder: str) -> None:
    """Slicer 5.12 and later show their progress dialog; older ones only wait. Raises when pip fails."""
    if not names:
        return
    source = ["--no-index", "--find-links", folder] if folder else ["--only-binary", ":all:"]
    if importlib.util.find_spec("slicer.packaging"):
        importlib.import_module("slicer.packaging").pip_install([*source, *names], requester=_REQUESTER)
    else:
        slicer.util.pip_install([*source, *names])
    importlib.invalidate_caches()


def _remember(names: list[str]) -> None:
    qt.QSettings().setValue(_INSTALLED_SETTING, " ".join(sorted({*installedByUs(), *names})))


def _installed(name: str) -> str:
    """Version of a package in this Python, "" where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"\d+(\.\d+)*", version)[0].split("."))
