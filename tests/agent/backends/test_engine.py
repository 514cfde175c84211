"""The engine: what it decodes and what it reuses, several conversations at once, cancelling, failing."""

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.agent.backends import ContextOverflow, ModelError, Progress, Sampling
from arriero.agent.backends.engine import Engine
from arriero.agent.backends.generation import Generation, Written
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.settings import EngineSettings
from arriero.agent.backends.slots import Slot, choose, common_prefix

from .tiny_gguf import token_id, write_tiny_gguf

GREEDY = Sampling(temperature=0)
Z = ord("z")  # the scripted model goes on with z for ever


class Sink:
    """Collects what an engine delivers."""

    def __init__(self) -> None:
        self.items: queue.Queue[Written | ModelError | None] = queue.Queue()

    def next(self) -> Written:
        item = self.items.get(timeout=20)
        assert isinstance(item, Written), item
        return item

    def all(self) -> list[Written]:
        tokens = []
        while isinstance(item := self.items.get(timeout=20), Written):
            tokens.append(item)
            if item.stop:
                return tokens
        if item is not None:
            raise item
        return tokens


def run(
    engine: Engine, tokens: list[int], *, max_tokens: int | None = None, sampling: Sampling = GREEDY
) -> list[int]:
    sink = Sink()
    engine.submit(tokens, sampling, sink.items.put, max_tokens=max_tokens)
    return [token.id for token in sink.all()]


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it took too long"
        time.sleep(0.001)
    return time.monotonic() - start


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    def build(path: Path, *, length: int = 8192, **settings: Any) -> Engine:
        engine = Engine(GGUFInfo.read(path), EngineSettings(length, **settings))
        request.addfinalizer(engine.close)
        return engine

    return build


def test_a_dialogue_prefills_exactly_its_new_tokens(tiny: Path, make: Callable[..., Engine]) -> None:
    engine = make(tiny)
    transcript: list[int] = []
    for turn in range(12):
        new = [(turn * 31 + index * 7) % 256 for index in range(20 + turn)]
        transcript += new
        before = engine.stats.prefilled_tokens
        transcript += run(engine, transcript, max_tokens=9)
        assert engine.stats.prefilled_tokens - before == len(new)
    # every sampled token was decoded once, but for the last one of all
    assert engine.stats.decoded_tokens == engine.stats.sampled_tokens - 1 == 12 * 9 - 1


def test_a_reused_prefix_gives_the_tokens_of_a_fresh_one(tiny: Path, make: Callable[..., Engine]) -> None:
    engine, other = make(tiny), make(tiny)
    prompt = [index * 5 % 256 for index in range(64)]
    run(engine, [*prompt, 1, 2, 3, 4], max_tokens=30)
    sampling = Sampling(temperature=1.0, seed=7)
    assert run(engine, prompt, max_tokens=8, sampling=sampling) == run(
        other, prompt, max_tokens=8, sampling=sampling
    )
    assert engine.stats.reused_tokens == 63  # the last one of the prompt gives the logits


def test_a_new_conversation_replaces_the_only_one(tiny: Path, make: Callable[..., Engine]) -> None:
    engine = make(tiny)
    first = run(engine, [1, 2, 3], max_tokens=5)
    run(engine, [9, 8, 7], max_tokens=5)
    assert run(engine, [1, 2, 3], max_tokens=5) == first
    assert engine.stats.prefilled_tokens == 9


def test_conversations_keep_their_own_sequences(tiny: Path, make: Callable[..., Engine]) -> None:
    engine = make(tiny, sequences=3)
    transcripts = [[start] * 10 for start in (1, 2, 3)]
    for _ in range(4):
        before = engine.stats.prefilled_tokens
        for transcript in transcripts:
            transcript += [*run(engine, transcript, max_tokens=4), 5, 6]
        # 2 new tokens each, after the first round of 10
        assert engine.stats.prefilled_tokens - before == (30 if before == 0 else 6)


def test_a_common_head_is_copied_not_computed(tiny: Path, make: Callable[..., Engine]) -> None:
    engine, other = make(tiny, sequences=4), make(tiny)
    head = [index * 3 % 256 for index in range(300)]
    run(engine, [*head, 1, 1], max_tokens=3)
    for tail in ([2, 2], [3, 3], [4, 4]):
        run(engine, [*head, *tail], max_tokens=3)
    assert engine.stats.copies == 3
    assert engine.stats.prefilled_tokens == 302 + 3 * 2
    assert run(engine, [*head, 5], max_tokens=6) == run(other, [*head, 5], max_tokens=6)


def test_many_at_once_all_progress(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, sequences=4)
    sinks = [Sink() for _ in range(7)]
    for index, sink in enumerate(sinks):
        engine.submit([index] * 40 + [Z], GREEDY, sink.items.put, max_tokens=50)
    for sink in sinks:
        assert [token.id for token in sink.all()] == [Z] * 50
    wait_for(lambda: engine.idle)
    assert engine.stats.decodes < 7 * 50  # they shared decodes


def test_a_long_prompt_does_not_stall_others(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, sequences=2)
    talker, reader = Sink(), Sink()
    talking = engine.submit([Z], GREEDY, talker.items.put)
    talker.next()
    engine.submit([1] * 3000, GREEDY, reader.items.put, max_tokens=1)
    reader.all()
    engine.cancel(talking)
    assert talker.items.qsize() >= 3000 // 128


def test_grows_without_losing_what_it_knows(tiny: Path, make: Callable[..., Engine]) -> None:
    engine, roomy = make(tiny, sequences=2), make(tiny)
    prompt = [index * 11 % 256 for index in range(2000)]
    run(engine, [7, 7, 7], max_tokens=4)
    transcript = prompt + run(engine, prompt, max_tokens=60)
    assert engine.stats.growths == 1  # while writing
    run(engine, [*transcript, *([1] * 2500)], max_tokens=2)
    assert engine.stats.growths == 2  # for a prompt
    assert engine.stats.prefilled_tokens == 3 + 2000 + 2500
    fresh = run(roomy, transcript, max_tokens=3)
    assert run(engine, transcript, max_tokens=3) == fresh


def test_the_end_of_the_context(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, length=300)
    assert run(engine, [Z] * 290) == [Z] * 11  # the last one need not be decoded
    assert run(engine, [Z] * 300) == [Z]
    with pytest.raises(ContextOverflow, match=r"301 tokens .* holds 300"):
        run(engine, [Z] * 301)
    assert run(engine, [ord("a")]) == [ord("b"), token_id("<|eot_id|>")]


@pytest.mark.parametrize("bad", [[], [-1], [10**9], [1, 2, 400]])
def test_prompts_that_cannot_be(tiny: Path, make: Callable[..., Engine], bad: list[int]) -> None:
    engine = make(tiny)
    with pytest.raises(ModelError, match=r"no tokens|outside"):
        run(engine, bad)
    known = run(engine, [1], max_tokens=2)
    with pytest.raises(ModelError, match=r"no tokens|outside"):  # behind what is in memory, too
        run(engine, bad and [1, *bad])
    assert len(known) == len(run(engine, [1, *known], max_tokens=2)) == 2


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = write_tiny_gguf(tmp_path_factory.mktemp("slow") / "m.gguf", context_length=65536)
    engine = Engine(GGUFInfo.read(path), EngineSettings(65536))
    yield engine
    engine.close()


MOST_TO_STOP = 0.15  # seconds of processor time: what else the machine does is not the engine's


def stopped(engine: Engine, generation: Generation) -> float:
    """Cancel, and wait until nothing runs; returns the processor time that it took."""
    begun = time.process_time()
    engine.cancel(generation)
    decodes = engine.stats.decodes
    wait_for(lambda: engine.idle, seconds=60)
    assert engine.stats.decodes <= decodes + 1  # none was begun behind the one that ran
    return time.process_time() - begun


def test_cancel_while_reading_a_long_prompt(slow: Engine) -> None:
    prompt = [index % 250 for index in range(60000)]
    sink = Sink()
    for _ in range(3):
        before = slow.stats.decodes
        generation = slow.submit(prompt, GREEDY, sink.items.put)
        wait_for(lambda before=before: slow.stats.decodes > before + 2, seconds=60)  # type: ignore[misc]
        assert stopped(slow, generation) < MOST_TO_STOP
    assert sink.items.empty()
    done = slow.stats.prefilled_tokens
    assert 0 < done < len(prompt)
    # what was read stays useful
    run(slow, prompt[: done + 10], max_tokens=1)
    assert slow.stats.prefilled_tokens == done + 10


def test_cancel_while_writing_alone(slow: Engine) -> None:
    sink = Sink()
    generation = slow.submit([7], GREEDY, sink.items.put)
    sink.next()
    assert stopped(slow, generation) < MOST_TO_STOP


def test_cancel_while_writing(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, sequences=2)
    sink, other = Sink(), Sink()
    generation = engine.submit([Z], GREEDY, sink.items.put)
    engine.submit([Z, Z], GREEDY, other.items.put, max_tokens=300)
    sink.next()
    engine.cancel(generation)
    wait_for(lambda: engine.stats.decodes > 20)
    engine.cancel(generation)
    assert [token.id for token in other.all()] == [Z] * 300  # the other one goes on
    wait_for(lambda: engine.idle)
    engine.cancel(generation)
    assert run(engine, [ord("a")]) == [ord("b"), token_id("<|eot_id|>")]


def test_cancel_before_the_start(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted)
    sink, late = Sink(), Sink()
    running = engine.submit([Z], GREEDY, sink.items.put)
    waiting, kept = (engine.submit([ord("a")], GREEDY, one.items.put) for one in (late, Sink()))
    sink.next()
    engine.cancel(waiting)
    engine.cancel(waiting)
    engine.cancel(running)
    wait_for(lambda: engine.idle)
    assert late.items.empty()
    assert kept.produced == 2  # who waited behind it had its turn


def test_storm_of_cancels(tiny: Path, make: Callable[..., Engine]) -> None:
    engine, fresh = make(tiny, sequences=3), make(tiny)
    prompt = [index * 13 % 256 for index in range(700)]
    for turn in range(40):
        generation = engine.submit(prompt[turn:], GREEDY, Sink().items.put)
        time.sleep(turn % 7 * 0.001)
        engine.cancel(generation)
    assert run(engine, prompt, max_tokens=3) == run(fresh, prompt, max_tokens=3)


def test_a_receiver_that_is_gone_cancels(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted)

    def closed(_item: object) -> None:
        raise RuntimeError("Event loop is closed")

    engine.submit([Z], GREEDY, closed)
    wait_for(lambda: engine.idle)
    assert engine.stats.sampled_tokens == 1


def test_a_receiver_that_fails_ends_the_engine_with_an_error(
    scripted: Path, make: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    engine = make(scripted)
    sink = Sink()

    def broken(item: Written | ModelError | None) -> None:
        if isinstance(item, Written):
            raise KeyError("x")
        sink.items.put(item)

    engine.submit([Z], GREEDY, broken)
    with pytest.raises(ModelError, match="engine failed"):
        sink.all()
    with pytest.raises(ModelError, match="engine failed"):
        run(engine, [Z])
    assert "the engine failed" in caplog.text


def test_close_ends_what_runs(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted)
    sink = Sink()
    engine.submit([Z], GREEDY, sink.items.put)
    sink.next()
    engine.close()
    engine.close()
    with pytest.raises(ModelError, match="closed"):
        sink.all()
    with pytest.raises(ModelError, match="closed"):
        run(engine, [Z])


def test_submits_from_many_threads(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, sequences=2)
    results: list[list[int]] = []

    def work() -> None:
        results.extend(run(engine, [ord("a")]) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert results == [[ord("b"), token_id("<|eot_id|>")]] * 80


@pytest.mark.parametrize("phase", ["reading", "writing", "idle"])
def test_leaving_the_interpreter_without_closing(tiny: Path, phase: str) -> None:
    code = f"""
import time
from arriero.agent.backends import Sampling
from arriero.agent.backends.engine import Engine
from arriero.agent.backends.generation import Generation
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.settings import EngineSettings
engine = Engine(GGUFInfo.read({str(tiny)!r}), EngineSettings(8192))
if {phase!r} != "idle":
    engine.submit([1] * (8000 if {phase!r} == "reading" else 1), Sampling(), lambda item: None)
    time.sleep(0.05)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_stats_start_at_zero(tiny: Path, make: Callable[..., Engine]) -> None:
    assert set(astuple(make(tiny).stats)) == {0}


def slots(*tokens: list[int]) -> list[Slot]:
    return [Slot(index, list(held), used=index + 1 if held else 0) for index, held in enumerate(tokens)]


def test_choice_of_a_slot() -> None:
    long = list(range(100))
    held = slots([1, 2, 3], long, [])
    choice = choose(held, [1, 2, 3, 4], 2048)
    assert choice is not None
    assert (choice.slot.id, choice.matched, choice.donor) == (0, 3, None)
    branch = choose(held, [*long[:50], 7, 7], 2048)  # another way from the middle: into the empty slot
    assert branch is not None
    assert (branch.slot.id, branch.matched, branch.donor) == (2, 50, held[1])
    full = slots([1, 2, 3], long)
    cut = choose(full, [*long[:50], 7, 7], 2048)  # none is empty: most of it is kept
    assert cut is not None
    assert (cut.slot.id, cut.matched, cut.donor) == (1, 50, None)
    oldest = choose(full, [9, 9], 2048)
    assert oldest is not None
    assert (oldest.slot.id, oldest.matched) == (0, 0)
    for slot in full:
        slot.busy = True
    assert choose(full, [9, 9], 2048) is None


@given(
    head=st.lists(st.integers(0, 3), max_size=40),
    one=st.lists(st.integers(0, 3), max_size=10),
    other=st.lists(st.integers(0, 3), max_size=10),
    limit=st.integers(0, 60),
)
def test_common_prefix(head: list[int], one: list[int], other: list[int], limit: int) -> None:
    left, right = head + one, head + other
    expected = 0
    for a, b in zip(left[:limit], right[:limit], strict=False):
        if a != b:
            break
        expected += 1
    assert common_prefix(left, right, limit) == expected


def test_how_far_a_request_is_can_be_asked_at_any_time(tiny: Path, make: Callable[..., Engine]) -> None:
    engine, sink, told = make(tiny), Sink(), []
    assert engine.progress() is None
    prompt = [index * 7 % 256 for index in range(3000)]
    generation = engine.submit(prompt, GREEDY, sink.items.put, max_tokens=300)
    while (progress := engine.progress()) is not None:
        told.append(progress)
    assert len([token for token in sink.all() if token]) == 300 or generation.produced < 300
    assert all(one.prompt == 3000 for one in told)
    assert [one.read for one in told] == sorted(one.read for one in told)
    # Whoever asks has it read in pieces that are worth telling of.
    assert {one.read for one in told if not one.written} & {128 * count for count in range(1, 23)}
    assert [one.written for one in told] == sorted(one.written for one in told)
    assert all(one.read == 3000 for one in told if one.written)


def test_what_is_remembered_of_a_prompt_counts_as_read(tiny: Path, make: Callable[..., Engine]) -> None:
    engine, sink = make(tiny), Sink()
    prompt = [index * 7 % 256 for index in range(1000)]
    run(engine, prompt, max_tokens=1)
    told: list[Progress] = []

    def deliver(item: Written | ModelError | None) -> None:
        told.append(engine.progress() or Progress(0, 0))
        sink.items.put(item)

    engine.submit([*prompt, 1], GREEDY, deliver, max_tokens=1)
    sink.all()
    assert told[0] == Progress(1001, 1001, 1)


def test_watching_changes_no_token(tiny: Path, make: Callable[..., Engine]) -> None:
    prompt = [index * 11 % 256 for index in range(1500)]
    sampling = Sampling(temperature=0, logprobs=1)
    found = []
    for watched in (False, True):
        engine, sink = make(tiny), Sink()
        if watched:
            engine.progress()
        engine.submit(prompt, sampling, sink.items.put, max_tokens=8)
        found.append([(token.id, token.logprob) for token in sink.all()])
        found.append([engine.stats.decodes > 15])  # type: ignore[list-item]
    assert found[0] == found[2]
    assert (found[1], found[3]) == ([False], [True])
