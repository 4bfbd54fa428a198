"""What the base install is made of, and whether it works with the oldest versions it allows.

    python Testing/supply_chain.py list                        Resources/Docs/dependencies.md and sbom.json (CycloneDX)
    python Testing/supply_chain.py test [--oldest] [--python PYTHON]   ring 1 without torch in an environment of its own

Environments are made in a temporary folder. The list is cyclonedx-bom's, of what pip installs today.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "Resources" / "Docs"
_TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis", "tomli")


def main(words: list[str]) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["list", "test"])
    parser.add_argument("--oldest", action="store_true", help="every dependency at the lower bound of pyproject.toml")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to test with")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="cnsifusion-supply-") as folder:
        if options.what == "list":
            return write_list(Path(folder))
        return run_tests(Path(folder), options.python, options.oldest)


def requirements() -> list[str]:
    """The base dependencies of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = re.search(r"(?ms)^dependencies = \[(.*?)^\]", text)
    assert block is not None
    return re.findall(r'"([^"]+)"', block[1])


def lowest(words: list[str]) -> list[str]:
    """The same dependencies, each at its lower bound."""
    return [word.replace(">=", "==") for word in words]


def run_tests(folder: Path, python: str, oldest: bool) -> int:
    """Ring 1 with the base install alone: what needs torch, highdicom or pyradiomics is skipped."""
    words = lowest(requirements()) if oldest else requirements()
    own = environment(folder / "base", [*words, *_TEST_TOOLS], python)
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "CNSIFusion"), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    run = [own, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "Testing" / "engine")]
    return subprocess.run(run, cwd=ROOT, env=variables, check=False).returncode


def write_list(folder: Path) -> int:
    """SBOM and licence table of the base install."""
    base = environment(folder / "base", requirements(), sys.executable)
    tool = environment(folder / "tool", ["cyclonedx-bom>=7"], sys.executable)
    subprocess.run([base, "-m", "pip", "uninstall", "-q", "-y", "setuptools", "pip"], check=True)
    path = DOCS / "sbom.json"
    made = [tool, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON", "-o", path, base]
    subprocess.run(list(map(str, made)), check=True)
    components = json.loads(path.read_text("utf-8"))["components"]
    (DOCS / "dependencies.md").write_text("\n".join([*_HEAD, *(_line(c, base) for c in components), ""]), "utf-8")
    print(f"{len(components)} packages: {path}, {DOCS / 'dependencies.md'}")
    return 0


def environment(folder: Path, words: list[str], python: str) -> Path:
    """A new virtual environment with packages; returns its interpreter."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    own = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([own, "-m", "pip", "install", "-q", "--disable-pip-version-check", *words], check=True)
    return own


_HEAD = [
    "# What the base install is made of",
    "",
    "Made by `python Testing/supply_chain.py list` from installed packages; as CycloneDX: [sbom.json](sbom.json).",
    "The extras `train`, `cluster`, `web`, `dicom` and `test` bring more and are not listed. The template under",
    "`CNSIFusion/cnsifusion/resources/template` (MNI152 2009a) has its licence beside it.",
    "",
    "| package | version | licence |",
    "| --- | --- | --- |",
]


def _line(component: dict, python: Path) -> str:
    stated = [c.get("expression") or c["license"].get("id") or c["license"].get("name", "")
              for c in component.get("licenses", [])]  # fmt: skip
    words = {text.splitlines()[0].replace("License :: ", "").replace("OSI Approved :: ", "") for text in stated if text}
    named = "; ".join(sorted(words, key=len)[:2])
    if not named:  # words that CycloneDX does not know, such as protobuf's "3-Clause BSD License"
        code = f"from importlib.metadata import metadata; print(metadata({component['name']!r})['License'] or '')"
        named = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    return f"| {component['name']} | {component['version']} | {named or 'not stated'} |"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
