import stat
from pathlib import Path

from arriero.agent.cli.told import untold


def test_each_hint_is_given_once(tmp_path: Path) -> None:
    assert untold(["a", "b"]) == ["a", "b"]
    assert untold(["a", "c"]) == ["c"]
    assert untold(["a"]) == []
    assert stat.S_IMODE((tmp_path / "home" / "told").stat().st_mode) == 0o600


def test_without_a_place_to_remember_every_hint_is_new(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    assert untold(["a"]) == ["a"]
    assert untold(["a"]) == ["a"]


def test_a_spoilt_memory_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "told").write_bytes(b"\xff\x00garbage")
    assert untold(["a"]) == ["a"]
