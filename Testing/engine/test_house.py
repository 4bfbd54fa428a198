"""The house's rules (Resources/Docs/architecture.md): which room may know which, what may be imported where."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "CNSIFusion" / "cnsifusion"
#: Room -> rooms of the engine it may import (besides itself and what all know: see test_arrows_and_nevers).
ARROWS = {
    "imaging": set(),
    "roi": {"imaging"},
    "radiomics": {"imaging"},
    "bundles": {"imaging"},
    "models": {"imaging", "bundles"},
    "analysis": {"bundles", "radiomics", "roi", "imaging"},
    "simulation": {"imaging", "roi"},
    "training": {"models", "radiomics", "bundles", "imaging", "roi", "simulation", "reporting", "analysis"},
    "reporting": {"analysis", "bundles", "roi", "imaging"},
    "mrml": {"roi", "analysis", "bundles", "reporting", "imaging"},
    "web": {"mrml", "roi", "analysis", "bundles", "reporting", "imaging"},
}
FACES = {"mrml", "web"}
SLICER = {"slicer", "qt", "ctk", "trame", "trame_slicer", "vtk", "vtkmodules"}
HEAVY = {"torch", "torchvision", "sklearn", "pandas", "dask", "distributed", "joblib", "onnx", "pyarrow"}
HEAVY_ROOMS = {"models", "training", "simulation"}
FILES = sorted(ENGINE.rglob("*.py"))


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Dotted names of all modules a file imports."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            if node.module == "cnsifusion":
                names |= {f"cnsifusion.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    parts = path.relative_to(ENGINE).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ENGINE)))
def test_arrows_and_nevers(path: Path) -> None:
    here = room(path)
    modules = imports(path)
    tops = {name.split(".")[0] for name in modules}
    if here not in FACES:
        assert not tops & SLICER, "Slicer, Qt and trame belong to mrml, web, the panel and the effect"
    if here not in HEAVY_ROOMS:
        allowed = {"pyarrow"} if here == "radiomics" else set()  # Parquet, imported when asked for
        assert not tops & HEAVY - allowed, "training libraries must not be needed by a radiologist's Slicer"
    if here in ARROWS:
        known = {name.split(".")[1] for name in modules if name.startswith("cnsifusion.")}
        common = {"errors", "fields", "inference", "processes", "source", "threads", "resources", "__version__", here}
        assert known - common <= ARROWS[here], "an arrow runs the wrong way"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ENGINE)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_module_files_import_nothing_third_party() -> None:
    """A failed import while Slicer reads a module file makes the module vanish without a word."""
    for path in (*(ROOT / "CNSIFusion").glob("*.py"), *(ROOT / "CNSISegmentEditor").glob("*.py")):
        tops = {name.split(".")[0] for name in imports(path, top_level_only=True)}
        assert tops <= set(sys.stdlib_module_names) | {"slicer", "qt", "ctk", "vtk", "__future__"}, path.name


def test_analysis_loads_no_training_library() -> None:
    """The command line's import of everything an analysis needs, in a fresh interpreter."""
    code = "import sys, cnsifusion.analysis, cnsifusion.reporting.html, cnsifusion.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & (HEAVY | SLICER)


def test_every_import_of_the_base_is_a_dependency_of_the_base() -> None:
    """A package that only an extra brings would be missing in a radiologist's Slicer."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = re.search(r"(?ms)^dependencies = \[(.*?)^\]", text)
    assert block
    names = {re.split(r"[<>=\[ ]", word)[0].lower() for word in re.findall(r'"([^"]+)"', block[1])} | {"pil"}
    optional = {"radiomics": {"radiomics", "pyarrow"}, "reporting": {"highdicom"}}
    for path in FILES:
        if room(path) in HEAVY_ROOMS | FACES:
            continue
        tops = {name.split(".")[0] for name in imports(path)} - {"cnsifusion", "__future__"}
        foreign = {name.lower() for name in tops - set(sys.stdlib_module_names)}
        assert foreign <= names | optional.get(room(path), set()), path


def test_the_list_of_dependencies_is_of_these() -> None:
    """Resources/Docs/sbom.json and dependencies.md name every base dependency (python Testing/supply_chain.py list)."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = re.search(r"(?ms)^dependencies = \[(.*?)^\]", text)
    assert block
    wanted = {re.split(r"[<>=\[ ]", word)[0].lower() for word in re.findall(r'"([^"]+)"', block[1])}
    components = json.loads((ROOT / "Resources" / "Docs" / "sbom.json").read_text("utf-8"))["components"]
    listed = (ROOT / "Resources" / "Docs" / "dependencies.md").read_text("utf-8").lower()
    assert wanted <= {c["name"].lower() for c in components}
    assert all(f"| {name} |" in listed for name in wanted)


def test_no_shared_data_at_run_time() -> None:
    for path in FILES:
        assert not re.search(r"shared/data|oms_patient|sri24|cstar", path.read_text("utf-8")), path


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text("utf-8")


def test_onnx_runtime_is_never_imported_with_its_telemetry(tmp_path: Path) -> None:
    """It would keep a database of events in the user's home and upload it."""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | {"HOME": str(tmp_path)}
    code = "import cnsifusion.bundles, onnxruntime"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.rglob("*onnxruntime*"))
