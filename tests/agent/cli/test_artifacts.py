import stat
from pathlib import Path

import pytest

from arriero.agent.cli.artifacts import keep
from arriero.agent.events import ArtifactRef


def artifact(name: str, data: bytes = b"x") -> ArtifactRef:
    return ArtifactRef(name=name, mime="image/png", data=data)


def test_artifacts_are_kept_under_the_run_for_their_owner_only(tmp_path: Path) -> None:
    (path,) = keep("run1", [artifact("fig-1.png", b"png")])
    assert path == tmp_path / "home" / "runs" / "run1" / "fig-1.png"
    assert path.read_bytes() == b"png"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../../etc/passwd", "passwd"),
        ("/etc/shadow", "shadow"),
        (".bashrc", "bashrc"),
        ("a b\n\x1b[0m.png", "a_b_0m.png"),
        ("", "artifact"),
        ("..", "artifact"),
        ("x" * 300 + ".txt", "x" * 96 + ".txt"),
    ],
)
def test_names_from_untrusted_code_stay_in_the_folder(name: str, expected: str, tmp_path: Path) -> None:
    (path,) = keep("run1", [artifact(name)])
    assert path == tmp_path / "home" / "runs" / "run1" / expected


def test_files_that_exist_are_never_replaced() -> None:
    first, second = keep("run1", [artifact("fig.png", b"1"), artifact("fig.png", b"2")])
    (third,) = keep("run1", [artifact("fig.png", b"3")])
    assert [p.name for p in (first, second, third)] == ["fig.png", "fig-2.png", "fig-3.png"]
    assert [p.read_bytes() for p in (first, second, third)] == [b"1", b"2", b"3"]


def test_a_folder_that_cannot_be_made_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(OSError, match="home"):
        keep("run1", [artifact("fig.png")])
