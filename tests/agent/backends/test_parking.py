"""Conversations that give way to others: parked, brought back, forked, taken back; proven by what is decoded."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from arriero.agent.backends import ModelError
from arriero.agent.backends.engine import Engine
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.parking import Parking
from arriero.agent.backends.settings import EngineSettings
from arriero.agent.backends.slots import Slot

from .test_engine import run

LONG = 200


def transcript(start: int, length: int = LONG) -> list[int]:
    return [(start * 50 + index * 7 + index // 9) % 256 for index in range(length)]


@pytest.fixture
def make(request: pytest.FixtureRequest, tiny: Path) -> Callable[..., Engine]:
    def build(**settings: object) -> Engine:
        engine = Engine(GGUFInfo.read(tiny), EngineSettings(**{"length": 4096, **settings}))  # type: ignore[arg-type]
        request.addfinalizer(engine.close)
        return engine

    return build


def test_conversations_that_alternate_are_not_computed_again(make: Callable[..., Engine]) -> None:
    engine, fresh = make(), make(parked_bytes=0)
    talks = [transcript(index) for index in range(3)]
    for talk in talks:
        talk += run(engine, talk, max_tokens=4)
    for _ in range(3):
        for index, talk in enumerate(talks):
            before = engine.stats.prefilled_tokens
            talk += [index, 1, 2]
            talk += run(engine, talk, max_tokens=4)
            assert engine.stats.prefilled_tokens - before == 3
    assert engine.stats.restored == 9
    assert engine.stats.parked == 2 + 9
    # what comes back is what went
    assert run(engine, talks[0], max_tokens=6) == run(fresh, talks[0], max_tokens=6)
    run(fresh, talks[1], max_tokens=1)
    assert fresh.stats.parked == 0


def test_a_larger_context_takes_what_was_parked_in_a_smaller_one(make: Callable[..., Engine]) -> None:
    engine = make()
    small, large = transcript(1), transcript(2, 2500)
    small += run(engine, small, max_tokens=2)
    large += run(engine, large, max_tokens=2)
    before = engine.stats.prefilled_tokens
    run(engine, [*small, 1], max_tokens=1)
    run(engine, [*large, 1], max_tokens=1)
    assert engine.stats.prefilled_tokens - before == 2


def test_a_fork_of_a_parked_conversation_leaves_it_parked(make: Callable[..., Engine]) -> None:
    engine = make()
    talk = transcript(1)
    talk += run(engine, talk, max_tokens=2)
    run(engine, transcript(2), max_tokens=2)
    before = engine.stats.prefilled_tokens
    run(engine, [*talk[:100], 1, 2], max_tokens=1)
    run(engine, [*talk, 3, 4], max_tokens=1)
    assert engine.stats.prefilled_tokens - before == 4


def test_forks_share_by_copying_and_taking_back_by_cutting(make: Callable[..., Engine]) -> None:
    engine = make(sequences=2)
    talk = transcript(1)
    talk += run(engine, talk, max_tokens=5)
    before = engine.stats.prefilled_tokens
    other = [*talk, 9, 9]
    other += run(engine, other, max_tokens=5)  # a copy of the conversation goes on first
    run(engine, [*talk, 8, 8], max_tokens=5)  # then itself
    assert engine.stats.copies == 1
    assert engine.stats.prefilled_tokens - before <= 2 + 2 + 5  # 5: what the answer of the other replaced
    before = engine.stats.prefilled_tokens
    run(engine, other[: LONG - 40], max_tokens=1)  # the last turns are taken back
    assert engine.stats.prefilled_tokens - before == 1


def slot(tokens: list[int]) -> Slot:
    return Slot(0, tokens)


def state(size: int) -> ctypes.Array[ctypes.c_uint8]:
    return (ctypes.c_uint8 * size)(*[size % 251] * size)


def test_the_oldest_gives_way() -> None:
    parking = Parking(room=100)
    for start in range(4):
        parking.add(slot(transcript(start)), state(40))
    assert parking.find(transcript(0), 0) is None
    assert parking.find(transcript(1), 0) is None
    found = parking.find([*transcript(3), 1], 0)
    assert found is not None
    assert (found[0].tokens, found[1]) == (transcript(3), LONG)
    assert parking.find([*transcript(3), 1], LONG - 10) is None  # little more than what is known


def test_a_longer_form_replaces_its_head() -> None:
    parking = Parking(room=100)
    parking.add(slot(transcript(1)), state(40))
    parking.add(slot([*transcript(1), 1]), state(40))
    parking.add(slot(transcript(2)), state(40))  # there is still room for it
    found = parking.find([*transcript(1), 1, 2], 0)
    assert found is not None
    assert found[1] == LONG + 1


def test_files_take_what_memory_cannot(tmp_path: Path) -> None:
    parking = Parking(room=50, folder=tmp_path / "parked", file_room=100)
    for start in range(4):
        parking.add(slot(transcript(start)), state(40 + start))
    files = list(tmp_path.rglob("*.kv"))
    assert sorted(file.stat().st_size for file in files) == [41, 42]
    assert files[0].parent.stat().st_mode & 0o077 == 0
    found = parking.find([*transcript(1), 5], 0)
    assert found is not None
    assert bytes(found[0].read() or b"") == bytes([41]) * 41
    files[0].write_bytes(b"")
    files[1].unlink()
    assert [one.read() for start in (1, 2) for one, _ in [parking.find([*transcript(start), 5], 0)]] == [  # type: ignore[misc]
        None,
        None,
    ]
    parking.close()
    assert list((tmp_path / "parked").iterdir()) == []


def test_a_folder_that_cannot_be_written_only_forgets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    parking = Parking(room=50, folder=tmp_path / "file" / "x", file_room=100)
    for start in range(3):
        parking.add(slot(transcript(start)), state(40))
    assert parking.find([*transcript(0), 5], 0) is None
    assert parking.find([*transcript(2), 5], 0) is not None


def test_files_in_use(make: Callable[..., Engine], tmp_path: Path) -> None:
    engine = make(parked_bytes=1, parked_folder=tmp_path)
    talk = transcript(1)
    talk += run(engine, talk, max_tokens=2)
    run(engine, transcript(2), max_tokens=2)
    assert len(list(tmp_path.rglob("*.kv"))) == 1
    before = engine.stats.prefilled_tokens
    run(engine, [*talk, 1], max_tokens=1)
    assert engine.stats.prefilled_tokens - before == 1
    for file in tmp_path.rglob("*.kv"):
        file.write_bytes(bytes(file.stat().st_size))  # as long as before, and nonsense
    assert len(run(engine, [*transcript(2), 7], max_tokens=3)) == 3
    engine.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cache_type": "q9"}, "cache_type must be one of f16, q8_0, q4_0, not 'q9'"),
        ({"cache_type": "q8_0", "flash_attention": False}, "needs flash attention"),
        ({"parked_bytes": -1}, "cannot be negative"),
    ],
)
def test_settings_that_cannot_be(
    make: Callable[..., Engine], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        make(**settings)


@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
def test_quantised_caches_are_parked_too(make: Callable[..., Engine], cache_type: str) -> None:
    engine = make(cache_type=cache_type)
    talk = transcript(1)
    talk += run(engine, talk, max_tokens=2)
    run(engine, transcript(2), max_tokens=2)
    before = engine.stats.prefilled_tokens
    run(engine, [*talk, 1], max_tokens=1)
    assert engine.stats.prefilled_tokens - before == 1
