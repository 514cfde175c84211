"""Where the keys and values of idle conversations wait: host memory first, then files."""

import ctypes
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .llama_lib import LOGGER
from .slots import COPY_MINIMUM, Slot, common_prefix

State = ctypes.Array[ctypes.c_uint8]

WORTH_KEEPING = 64  # tokens; fewer are computed again
KEPT_PART = (
    4  # a quarter of a conversation at least must be lost: less is a step back, not another conversation
)


@dataclass(slots=True, eq=False)
class Parked:
    """A sequence outside of the context; ``state`` is in memory, or else in ``file``."""

    tokens: list[int]
    owed: list[int]
    exact: int
    size: int
    state: State | None
    file: Path | None = None

    def read(self) -> State | None:
        """The saved keys and values; None if their file is gone or cut short."""
        if self.state is not None or self.file is None:
            return self.state
        try:
            data = self.file.read_bytes()
        except OSError as error:
            LOGGER.warning("a parked conversation is lost and will be computed again: %s", error)
            return None
        return (ctypes.c_uint8 * self.size).from_buffer_copy(data) if len(data) == self.size else None


@dataclass(slots=True)
class Parking:
    """Sequences by last use, the oldest first; for one thread.

    ``room`` and ``file_room`` are bytes. Files are only for this process: they lie in a folder of their own in
    ``folder``, which only the user can read, and are removed by ``close``.
    """

    room: int
    folder: Path | None = None
    file_room: int = 0
    _parked: list[Parked] = field(default_factory=list)
    _files: "tempfile.TemporaryDirectory[str] | None" = None
    _written: int = 0

    @staticmethod
    def worth(slot: Slot, matched: int) -> bool:
        """Whether so much of the slot is lost, when only ``matched`` tokens of it stay, that it is kept."""
        lost = len(slot.tokens) - matched
        return lost >= WORTH_KEEPING and lost * KEPT_PART >= len(slot.tokens)

    def add(self, slot: Slot, state: State) -> None:
        """Keep what the slot holds; the oldest give way to it."""
        self._forget_heads_of(slot.tokens)
        self._parked.append(Parked(list(slot.tokens), list(slot.owed), slot.exact, len(state), state))
        self._shrink()

    def find(self, prompt: Sequence[int], known: int) -> tuple[Parked, int] | None:
        """The sequence that shares most with ``prompt`` and how much; None unless well beyond ``known`` tokens."""
        matches = [(common_prefix(one.tokens, prompt, len(prompt) - 1), one) for one in self._parked]
        matched, best = max(matches, key=lambda match: match[0], default=(0, None))
        return (best, matched) if best and matched >= known + COPY_MINIMUM else None

    def use(self, parked: Parked, matched: int) -> None:
        """Note that it was restored: wholly, so that it is not kept twice, or as the head of another one."""
        self._parked.remove(parked)
        if matched >= len(parked.tokens) - 1:
            self._drop(parked)
        else:
            self._parked.append(parked)

    def discard(self, parked: Parked) -> None:
        """Forget a sequence; it may be forgotten already."""
        if parked in self._parked:
            self._parked.remove(parked)
        self._drop(parked)

    def close(self) -> None:
        self._parked.clear()
        if self._files:
            self._files.cleanup()
            self._files = None

    def _forget_heads_of(self, tokens: Sequence[int]) -> None:
        for one in [one for one in self._parked if one.tokens == tokens[: len(one.tokens)]]:
            self.discard(one)

    def _shrink(self) -> None:
        held = [one for one in self._parked if one.state is not None]
        while sum(one.size for one in held) > self.room:
            self._write_out(held.pop(0))
        filed = [one for one in self._parked if one.file is not None]
        while sum(one.size for one in filed) > self.file_room:
            self.discard(filed.pop(0))

    def _write_out(self, parked: Parked) -> None:
        if self.folder is None or parked.size > self.file_room or parked.state is None:
            self.discard(parked)
            return
        try:
            if self._files is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._files = tempfile.TemporaryDirectory(dir=self.folder, prefix="parked-")
            self._written += 1
            file = Path(self._files.name) / f"{self._written}.kv"
            file.write_bytes(parked.state)
        except OSError as error:
            LOGGER.warning("a conversation cannot be parked in %s: %s", self.folder, error)
            self.discard(parked)
            return
        parked.file, parked.state = file, None

    def _drop(self, parked: Parked) -> None:
        parked.state = None
        if parked.file is not None:
            parked.file.unlink(missing_ok=True)
            parked.file = None
