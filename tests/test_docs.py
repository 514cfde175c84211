"""The pages say what is so: examples run, links lead somewhere, commands name files and targets that exist."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from arriero.agent.cli.app import cli
from arriero.tools.python import Sandbox

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "agent/**/*.md")
    for page in ROOT.glob(pattern)
)
README = (ROOT / "README.md").read_text()
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
WITH_EXAMPLES = (
    "README.md",
    *(
        str(page.relative_to(ROOT))
        for page in sorted((ROOT / "docs").glob("*.md"))
        if page.name != "guards.md" and "```python\n" in page.read_text()  # its example needs weights
    ),
)
EXAMPLES = [
    pytest.param(match[1], match[2], id=f"{page}:{number}")
    for page in WITH_EXAMPLES
    for number, match in enumerate(EXAMPLE.finditer((ROOT / page).read_text()), 1)
]


def test_there_are_examples() -> None:
    assert {str(example.id).partition(":")[0] for example in EXAMPLES} == {*WITH_EXAMPLES}
    assert len(WITH_EXAMPLES) > 9


@pytest.mark.parametrize(("code", "expected"), EXAMPLES)
def test_examples_run(code: str, expected: str | None, tmp_path: Path) -> None:
    if "load_mcp" in code:
        pytest.importorskip("mcp_server_time")
    if "Sandbox()" in code and Sandbox.probe().level is None:
        pytest.skip("no level of the sandbox works here")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "mules.txt").write_text("A mule train crosses the pass.\n")
    home = {"HOME": str(tmp_path), "ARRIERO_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "print(" not in code
    assert expected is None or done.stdout == expected


def test_the_commands_of_the_quickstart_run_and_print_what_it_says(tmp_path: Path) -> None:
    if Sandbox.probe().level is None:
        pytest.skip("no level of the sandbox works here")
    page = (ROOT / "docs" / "quickstart.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", page, re.MULTILINE | re.DOTALL)
    (first, _), (second, _), *rest = blocks
    assert first == "make demo\n"
    assert second.startswith("export PATH=")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    here = {**os.environ, "PATH": path, "HOME": str(tmp_path), "ARRIERO_HOME": str(tmp_path / "home")}
    for commands, expected in rest:
        shell = ["bash", "-e", "-o", "pipefail", "-c", commands]
        done = subprocess.run(shell, cwd=tmp_path, env=here, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{commands}{done.stderr}"
        assert not expected or done.stdout == expected, commands
    assert sum(bool(expected) for _, expected in rest) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def commands() -> list[str]:
    """Lines of the README's shell blocks, and the commands of its table."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return [*"\n".join(blocks).splitlines(), *re.findall(r"^\| `([^`]+)` \|", README, flags=re.MULTILINE)]


def test_make_targets_exist() -> None:
    targets = {match[1] for line in commands() if (match := re.match(r"make (\w+)", line))}
    assert {"demo", "test", "check"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_scripts_and_modules_exist() -> None:
    named = [match for line in commands() if (match := re.search(r"python (-m )?([\w./]+)", line))]
    assert named
    for match in named:
        path = f"{match[2].replace('.', '/')}.py" if match[1] else match[2]
        assert (ROOT / path).is_file(), path


def _options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from parameter.opts
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        yield from _options(inner)


def test_options_and_variables_of_the_command_exist() -> None:
    known = {*_options(cli), "--help"}
    options = {
        option
        for line in re.findall(r"arriero [^\n#`]*", README)
        for option in re.findall(r"--[a-z-]+", line)
    }
    assert len(options) >= 5
    assert options - known == set()
    sources = "".join(
        path.read_text() for folder in ("agent", "tools") for path in (ROOT / folder).rglob("*.py")
    )
    variables = set(re.findall(r"\b[A-Z]+_[A-Z_]*(?:KEY|APPID|MODEL)\b", README))
    assert len(variables) >= 3
    assert [variable for variable in variables if variable not in sources] == []
