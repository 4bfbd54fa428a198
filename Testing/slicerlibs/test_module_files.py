"""What of the desktop face can be checked without Slicer: forms, names, packaged files, imports, the index entry."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[2]
PANEL_FORM = ROOT / "CNSIFusion/Resources/UI/CNSIFusion.ui"
EFFECT_FORM = ROOT / "CNSISegmentEditor/CNSISegmentEditorLib/CNSISegmentEditor.ui"
#: Each form and the folder of the code that binds its names.
BOUND = [(PANEL_FORM, ROOT / "CNSIFusion/CNSIFusionLib"), (EFFECT_FORM, EFFECT_FORM.parent)]
FORMS = sorted(ROOT.glob("CNSI*/**/*.ui"))
MODULE_FILES = [ROOT / "CNSIFusion/CNSIFusion.py", ROOT / "CNSISegmentEditor/CNSISegmentEditor.py"]
#: Read by Slicer at start-up, before the engine's packages may be there.
STARTUP_FILES = [*MODULE_FILES, *sorted((ROOT / "CNSISegmentEditor/CNSISegmentEditorLib").glob("*.py")),
                 *(ROOT / "CNSIFusion/CNSIFusionLib" / name for name in ("__init__.py", "compat.py", "sampleData.py"))]
QT_FILES = [*MODULE_FILES, *sorted(ROOT.glob("CNSI*/CNSI*Lib/*.py"))]
#: Methods that put words before the reader.
_SAYING = {"explain", "setText", "setToolTip", "setTitle", "addAction", "setHorizontalHeaderLabels", "showAlignment"}
_SLICER_NAMES = {"slicer", "qt", "ctk", "vtk", "SegmentEditorEffects", "CNSISegmentEditorLib", "CNSIFusionLib"}

_spec = importlib.util.spec_from_file_location("cmake_lists", ROOT / "Testing/cmake_lists.py")
cmake_lists = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cmake_lists)


def _uic() -> list[str]:
    for name in ("uic", "uic-qt5", "pyside6-uic"):
        found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        if found:
            return [found]
    pytest.skip("Qt's form compiler is not here (install PySide6-Essentials, or Debian's qtbase5-dev-tools)")


@pytest.mark.parametrize("form", FORMS, ids=lambda p: p.name)
def test_form_loads(form: Path) -> None:
    result = subprocess.run([*_uic(), str(form)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "error" not in result.stderr.lower(), result.stderr
    assert "Ui_" in result.stdout


@pytest.mark.parametrize(("form", "folder"), BOUND, ids=lambda p: p.name)
def test_labels_show_words_in_the_format_they_are_written_in(form: Path, folder: Path) -> None:
    """One that decides by itself takes escaped words without a tag for plain ones: “the image&#x27;s slices”."""
    lines = [line for file in folder.glob("*.py") for line in file.read_text("utf-8").splitlines()]
    escaped = {m[1] for line in lines if (m := re.search(r"ui\.(\w+)\.text = .*escape\(", line))}
    formats = {
        widget.get("name"): widget.findtext("property[@name='textFormat']/enum")
        for widget in ElementTree.parse(form).iter("widget")
    }
    assert {name: formats[name] for name in escaped} == dict.fromkeys(escaped, "Qt::RichText")
    if form == EFFECT_FORM:
        assert formats["messageLabel"] == formats["statisticsLabel"] == "Qt::PlainText"


def _names(form: Path) -> set[str]:
    """Names of the widgets: slicer.util.childWidgetVariables knows no layouts."""
    return {e.get("name") for e in ElementTree.parse(form).iter("widget")}


def _usedNames(folder: Path) -> dict[str, str]:
    """Names the code takes from its form, and where."""
    used = {}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "ui":
                used[node.attr] = f"{path.name}:{node.lineno}"
    return used


@pytest.mark.parametrize(("form", "folder"), BOUND, ids=lambda p: p.name)
def test_every_name_the_code_binds_is_in_the_form(form: Path, folder: Path) -> None:
    used = _usedNames(folder)
    assert len(used) > 8
    assert {name: where for name, where in used.items() if name not in _names(form)} == {}


def test_every_step_has_its_section() -> None:
    assert {f"{name}Section" for name in ("image", "regions", "model", "analyze", "result")} <= _names(PANEL_FORM)


@pytest.mark.parametrize(("form", "folder"), BOUND, ids=lambda p: p.name)
def test_every_button_of_the_form_is_bound(form: Path, folder: Path) -> None:
    buttons = {e.get("name") for e in ElementTree.parse(form).iter("widget") if e.get("class") == "QPushButton"}
    assert buttons and buttons <= set(_usedNames(folder))


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_tab_leads_out_of_tables(form: Path) -> None:
    """Qt's tables keep the Tab key: whoever works without a mouse never reached what lies below."""
    tables = ElementTree.parse(form).iterfind(".//widget[@class='QTableWidget']")
    for table in tables:
        assert table.findtext("property[@name='tabKeyNavigation']/bool") == "false", table.get("name")


def test_form_names_are_unique() -> None:
    names = [e.get("name") for e in ElementTree.parse(PANEL_FORM).iter() if e.tag in ("widget", "layout", "spacer")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("module", cmake_lists.MODULES)
def test_cmake_lists_every_file(module: str) -> None:
    text = (ROOT / module / "CMakeLists.txt").read_text("utf-8")
    listed = {line.strip() for line in text.splitlines() if re.fullmatch(r"  [\w./-]+\.\w+", line)}
    scripts, resources = cmake_lists.filesOf(module)
    assert listed == {*scripts, *resources}, "run: python Testing/cmake_lists.py"


def test_what_is_packaged_runs(tmp_path: Path) -> None:
    """The files CMake lists, laid out as Slicer installs them, are enough for the engine and its command line."""
    for module in cmake_lists.MODULES:
        text = (ROOT / module / "CMakeLists.txt").read_text("utf-8")
        for name in re.findall(r"^  ([\w./-]+\.\w+)$", text, re.MULTILINE):
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / module / name, target)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cnsifusion, cnsifusion.cli, cnsifusion.mrml.panel;"
        "from cnsifusion.roi.template import load_template; from cnsifusion.bundles import default_bundle_dir;"
        "assert cnsifusion.__file__.startswith(sys.argv[1]), cnsifusion.__file__;"
        "load_template(); sys.exit(cnsifusion.cli.main(['bundle', 'verify', str(default_bundle_dir())]))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path,
                            check=False)  # fmt: skip
    assert result.returncode == 0, result.stderr


def _importedAtFileScope(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", STARTUP_FILES, ids=lambda p: p.name)
def test_nothing_third_party_is_imported_while_modules_load(path: Path) -> None:
    strangers = _importedAtFileScope(path) - _SLICER_NAMES - set(sys.stdlib_module_names)
    assert strangers == set()


@pytest.mark.parametrize("path", QT_FILES, ids=lambda p: p.name)
def test_what_a_widget_says_can_be_translated(path: Path) -> None:
    """No plain sentence is put on a widget: it goes through ``_()`` first (forms are translated by Qt)."""
    said = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Assign):
            targets = [e for t in node.targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
            if any(isinstance(t, ast.Attribute) and t.attr in ("text", "toolTip", "title") for t in targets):
                said.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SAYING:
            said += node.args
    plain = [e.value for e in said if isinstance(e, ast.Constant) and isinstance(e.value, str)]
    assert [text for text in plain if re.search(r"[A-Za-z]{2}", text) and text != "CNSIFusion"] == []


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda p: p.name)
def test_module_files_are_thin(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 150


def test_no_other_script_beside_the_panel() -> None:
    """Slicer takes every .py of a module folder for a module."""
    for path in MODULE_FILES:
        assert [p.name for p in path.parent.glob("*.py")] == [path.name]


def test_requirements_equal_the_engines() -> None:
    """What the panel installs is the engine's base, without what Slicer has and nobody may replace."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    slicerHas = ("numpy", "scipy", "SimpleITK")
    wanted = sorted(name for name in project if not name.startswith(slicerHas))
    lines = (ROOT / "CNSIFusion/Resources/requirements.txt").read_text("utf-8").splitlines()
    assert sorted(line.split("#")[0].strip() for line in lines if line and line[0] != "#") == wanted
    assert all(re.search(r"# \d+$", line) for line in lines if line and line[0] != "#")


def test_index_entry_and_extension_fields() -> None:
    text = (ROOT / "CMakeLists.txt").read_text("utf-8")
    fields = dict(re.findall(r'^set\((EXTENSION_\w+) "([^"]+)"\)', text, re.MULTILINE))
    entry = json.loads((ROOT / "Resources/ExtensionsIndex/CNSIFusion.json").read_text("utf-8"))
    assert re.search(r"^project\((\w+)\)", text, re.MULTILINE)[1] == "CNSIFusion"
    assert fields["EXTENSION_CATEGORY"] == entry["category"]
    assert entry["scm_url"] == fields["EXTENSION_HOMEPAGE"] + ".git"
    assert entry["scm_url"].rsplit("/", 1)[1].startswith("Slicer")
    known = {"$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier"}
    assert set(entry) <= known
    for url in [fields["EXTENSION_ICONURL"], *fields["EXTENSION_SCREENSHOTURLS"].split()]:
        assert (ROOT / url.split("/main/")[1]).is_file(), f"{url} is not in the repository"


def test_icon_is_128_pixels() -> None:
    for path in ROOT.glob("CNSI*/Resources/Icons/CNSI*.png"):
        assert struct.unpack(">II", path.read_bytes()[16:24]) == (128, 128)
