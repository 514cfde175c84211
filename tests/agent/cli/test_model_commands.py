"""``arriero models``: listing, fetching, showing, checking, removing."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arriero.agent.cli.app import cli
from arriero.agent.models import bundled_model

from ..store.hub import Loopback


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback({"tiny.gguf": b"GGUF" + b"x" * 1000}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["models", *args])


def test_a_model_comes_and_goes(hub: Loopback, tmp_path: Path) -> None:
    pulled = run("pull", "hf:o/r/tiny.gguf")
    assert pulled.exit_code == 0, pulled.output
    path = Path(pulled.stdout.strip())
    assert path.read_bytes() == hub.files["tiny.gguf"]
    assert path.is_relative_to(tmp_path / "home" / "models")
    assert run("path", "hf:o/r/tiny.gguf").stdout.strip() == str(path)
    listed = run("list")
    assert "o--r--tiny" in listed.stdout
    assert "llama3.1-8b:q4_k_m" in listed.stdout
    assert run("list", "--here").stdout.count("\n") == 1
    assert json.loads(run("list", "--json").stdout)["here"][0]["reference"] == "hf:o/r/tiny.gguf"
    assert run("verify", "hf:o/r/tiny.gguf").exit_code == 0
    path.write_bytes(b"no")
    broken = run("verify", "--fix", "hf:o/r/tiny.gguf")
    assert broken.exit_code == 1
    assert "2 bytes instead of 1004" in broken.stderr
    assert run("pull", "-q", "hf:o/r/tiny.gguf").exit_code == 0
    assert run("rm", "hf:o/r/tiny.gguf").exit_code == 2
    assert run("rm", "-y", "hf:o/r/tiny.gguf").exit_code == 0
    assert "no models here yet" in run("list", "--here").stderr


def test_a_file_that_is_here_is_put_under_a_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(bundled_model().read_bytes())
    taken = run("pull", "llama3.2-1b", "--from-file", str(mine))
    assert taken.exit_code == 0, taken.stderr
    path = Path(taken.stdout.strip())
    assert path.read_bytes() == mine.read_bytes()
    assert path.is_relative_to(tmp_path / "home" / "models")
    assert run("path", "llama3.2-1b").stdout == taken.stdout
    assert run("verify", "llama3.2-1b").exit_code == 0
    assert not list(path.parent.glob("*.part"))
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert run("pull", "llama3.2-3b", "--from-file", str(mine), "--sha256", digest.upper()).exit_code == 0


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"<html>", [], "what came is no model and was removed"),
        (b"GGUF", ["--sha256", "0" * 64], "does not match its checksum"),
    ],
)
def test_a_file_that_is_no_model_is_not_taken(
    content: bytes, options: list[str], said: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(content)
    taken = run("pull", "llama3.2-1b", "--from-file", str(mine), *options)
    assert taken.exit_code == 1
    assert said in taken.stderr
    assert run("list", "--here").stdout == ""
    assert not list((tmp_path / "home" / "models").glob("*/*"))
    assert mine.read_bytes() == content


def test_show() -> None:
    shown = run("show")
    assert shown.exit_code == 0
    assert "special tokens <|begin_of_text|>" in shown.stdout
    assert json.loads(run("show", "bundled", "--json").stdout)["vocabulary"] > 256
    assert run("show", "--template").exit_code == 0


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("pull", "llama3.1-8x"), 1, "did you mean llama3.1-8b"),
        (("pull", "hf:o/r/none.gguf"), 1, "it has: tiny.gguf"),
        (("show", "no.gguf"), 1, "there is no model file"),
        (("path", "llama3.2-1b"), 1, "arriero models pull llama3.2-1b"),
        (("verify", "x"), 1, "not on this machine"),
        (("rm", "-y", "x"), 1, "not on this machine"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_cannot_be_done_is_said_in_one_line(args: tuple[str, ...], code: int, said: str) -> None:
    result = run(*args)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
