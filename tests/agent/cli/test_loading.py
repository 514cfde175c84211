from pathlib import Path

import pytest

from arriero.agent.cli.loading import Loading


def test_the_line_has_name_size_and_share(tmp_path: Path) -> None:
    path = tmp_path / "llama.gguf"
    with path.open("wb") as file:
        file.truncate(4_912_345_678)
    loading = Loading(str(path))
    assert loading.line == "loading llama.gguf 4.9 GB  0%"
    loading.tell(0.354)
    assert loading.line == "loading llama.gguf 4.9 GB  35%"


def test_all_parts_of_a_split_model_count(tmp_path: Path) -> None:
    for part, size in ((1, 3_000_000), (2, 2_500_000)):
        (tmp_path / f"big-0000{part}-of-00002.gguf").write_bytes(bytes(size))
    (tmp_path / "other-00001-of-00002.gguf").write_bytes(bytes(9_000_000))
    assert Loading(str(tmp_path / "big-00001-of-00002.gguf")).line.startswith(
        "loading big-00001-of-00002.gguf 5.5 MB"
    )


@pytest.mark.parametrize(
    "name", ["http://localhost:8080", "script:/tmp/a.txt", "/nowhere/x.gguf", "no-such-model"]
)
def test_what_has_no_file_here_has_no_size(name: str) -> None:
    assert Loading(name).line == f"loading {name if '://' in name else Path(name).name}  0%"


def test_the_bundled_model_has_a_size() -> None:
    assert " MB  0%" in Loading("bundled").line
