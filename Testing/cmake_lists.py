"""The modules' CMakeLists.txt: every script and resource on disk by name, since Slicer packages only what is listed.

``python Testing/cmake_lists.py`` rewrites both files; a test compares them with the disk.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("CNSIFusion", "CNSISegmentEditor")

_TEMPLATE = """#-----------------------------------------------------------------------------
set(MODULE_NAME {module})

# Written by Testing/cmake_lists.py: every file by name, because only those are packaged.
#-----------------------------------------------------------------------------
set(MODULE_PYTHON_SCRIPTS
{scripts}
  )

set(MODULE_PYTHON_RESOURCES
{resources}
  )

#-----------------------------------------------------------------------------
slicerMacroBuildScriptedModule(
  NAME ${{MODULE_NAME}}
  SCRIPTS ${{MODULE_PYTHON_SCRIPTS}}
  RESOURCES ${{MODULE_PYTHON_RESOURCES}}
  WITH_GENERIC_TESTS
  )

#-----------------------------------------------------------------------------
if(BUILD_TESTING)
  # The self-tests of the module's own file; Testing/desktop has the long ones.
  slicer_add_python_unittest(SCRIPT ${{MODULE_NAME}}.py)
endif()
"""


def filesOf(module: str) -> tuple[list[str], list[str]]:
    """Scripts and resources of a module folder, relative to it, in order."""
    folder = ROOT / module
    found = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    found = [p for p in found if p.name != "CMakeLists.txt" and not any(part.endswith(".egg-info") for part in p.parts)]
    scripts = [p.as_posix() for p in found if p.suffix == ".py"]
    # The module's own file first, as is the custom.
    scripts.sort(key=lambda name: name != f"{module}.py")
    return scripts, [p.as_posix() for p in found if p.suffix != ".py"]


def cmakeText(module: str) -> str:
    """The whole CMakeLists.txt of a module."""
    scripts, resources = filesOf(module)
    return _TEMPLATE.format(
        module=module,
        scripts="\n".join(f"  {name}" for name in scripts),
        resources="\n".join(f"  {name}" for name in resources),
    )


if __name__ == "__main__":
    for name in MODULES:
        (ROOT / name / "CMakeLists.txt").write_text(cmakeText(name), "utf-8")
