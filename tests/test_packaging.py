"""The build configuration and the tree say the same: packages, links, data files, version, dependencies."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import arriero

ROOT = Path(__file__).parent.parent
FOLDERS = ("agent", "prompts", "safety", "tools")


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def package_folders() -> dict[str, Path]:
    """Every package that the tree holds, by import name."""
    found = {"arriero": ROOT / "src" / "arriero"}
    for folder in FOLDERS:
        for init in (ROOT / folder).rglob("__init__.py"):
            found[".".join(("arriero", *init.parent.relative_to(ROOT).parts))] = init.parent
    return found


def modules() -> Iterator[Path]:
    for folder in (*FOLDERS, "src/arriero"):
        yield from (path for path in (ROOT / folder).rglob("*.py") if not path.is_symlink())


def normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_listed_packages_are_those_in_the_tree(pyproject: dict[str, Any]) -> None:
    assert sorted(pyproject["tool"]["setuptools"]["packages"]) == sorted(package_folders())


def test_every_folder_with_modules_is_a_package() -> None:
    assert {path.parent for path in modules()} == set(package_folders().values())


def test_package_folders_are_mapped_to_the_root(pyproject: dict[str, Any]) -> None:
    expected = {"arriero": "src/arriero"} | {f"arriero.{folder}": folder for folder in FOLDERS}
    assert pyproject["tool"]["setuptools"]["package-dir"] == expected


@pytest.mark.parametrize("folder", FOLDERS)
def test_links_for_type_checkers_point_at_the_real_folders(folder: str) -> None:
    link = ROOT / "src" / "arriero" / folder
    if not link.is_symlink():
        pytest.skip("git made no links here: only type checkers miss them")
    assert link.readlink() == Path("..", "..", folder)


def test_every_data_file_is_packed_and_every_pattern_finds_one(pyproject: dict[str, Any]) -> None:
    folders = package_folders()
    packed: set[Path] = set()
    for package, patterns in pyproject["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            matches = set(folders[package].glob(pattern))
            assert matches, f"{package}: nothing matches {pattern}"
            packed |= matches
    present = {
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert present <= packed


def test_the_version_stands_in_one_place(pyproject: dict[str, Any]) -> None:
    assert arriero.__version__ == metadata.version("arriero") == pyproject["project"]["version"]


def test_every_public_name_is_there() -> None:
    assert [name for name in arriero.__all__ if not hasattr(arriero, name)] == []


def test_the_newest_release_in_the_changelog_is_this_version(pyproject: dict[str, Any]) -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert pyproject["project"]["version"] in headings[1:2]


def test_what_the_package_imports_is_declared(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    listed = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {normalised(re.split(r"[^\w.-]", entry, maxsplit=1)[0]) for entry in listed}
    # pydantic-core is pydantic's own half; arriero_inside is how the code in the sandbox names itself; bfcl_eval is
    # used where somebody has it, and brings a hundred packages where it is installed as declared.
    declared |= {"arriero", "pydantic-core"}
    providers = metadata.packages_distributions()
    for path in modules():
        for name in imported_names(path):
            if name in sys.stdlib_module_names or name in ("arriero_inside", "bfcl_eval"):
                continue
            distributions = {
                normalised(each) for each in providers.get(name, [name])
            }  # an extra may be absent
            assert distributions & declared, f"{path.relative_to(ROOT)} imports {name}: not declared"


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_the_lock_names_the_public_index_alone() -> None:
    lock = (ROOT / "uv.lock").read_text()
    hosts = set(re.findall(r"\b[a-z]+://[^/\"]+", lock))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}
    assert "path =" not in lock


def test_constraints_for_pip_are_those_of_the_lock() -> None:
    locked = {
        (package["name"], package["version"])
        for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
        if "editable" not in package["source"]
    }
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    assert lines
    for line in lines:
        name, _, version = line.partition(";")[0].strip().partition("==")
        assert (name, version) in locked, line
