"""How an engine is to compute: everything that is decided before a model is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .base import ModelError
from .gguf import GGUFInfo

CacheType = Literal["f16", "q8_0", "q4_0"]
CACHE_TYPES: tuple[CacheType, ...] = get_args(CacheType)
# bytes of a block of 32 values; ggml.h numbers the types 1, 8 and 2
CACHE_BLOCKS: dict[CacheType, int] = {"f16": 64, "q8_0": 34, "q4_0": 18}

MOST_GUESSES = 15  # tokens that are computed ahead in one decode
PARKED_BYTES = 512 << 20  # of host memory for the keys and values of idle conversations
Numa = Literal["distribute", "isolate", "numactl"]
NUMA_STRATEGIES: dict[Numa, int] = {"distribute": 1, "isolate": 2, "numactl": 3}  # ggml-cpu.h


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of an engine.

    ``length`` bounds each conversation, in tokens. ``sequences`` conversations keep their keys and values;
    more wait their turn, and idle ones are parked: their keys and values are moved into up to ``parked_bytes``
    of host memory (512 MiB), what falls out of there into up to ``folder_bytes`` of files in ``parked_folder``
    (None: it is forgotten).

    ``gpu_layers`` of the model go to GPUs if llama.cpp was built for them; -1 is all, None as many as fit with
    whole conversations and ``gpu_reserved`` bytes for models that are loaded later. ``numa`` (``distribute``,
    ``isolate`` or ``numactl``) is llama.cpp's placement of memory on machines with several processors; the first
    engine of a process decides it for all.

    ``cache_type`` is how keys and values are kept: ``f16``, or ``q8_0`` and ``q4_0`` for a half and a quarter
    of the memory, on a processor at a half of the speed. ``flash_attention`` None lets llama.cpp decide on a
    GPU, and is off on a processor: there it is slower for 2 to 64 rows (measured: up to 2.1 times at 4,096
    tokens), except that quantised caches need it.

    ``deterministic`` makes the tokens of a request depend on nothing but model, build, threads, prompt and
    sampling: one request is computed at a time, its prompt in pieces of 128 tokens, and only such pieces are
    used again. Without it, what else is in a batch changes the last bits of the logits, and now and then a token.

    ``speculate`` computes ahead what a text that repeats itself is likely to say next, and takes what turns out
    right. None measures while loading whether a decode of several rows costs little more than one of one row, as
    on a GPU; with one thread it never does.
    """

    length: int
    sequences: int = 1
    threads: int = 1
    gpu_layers: int | None = None
    gpu_reserved: int = 0
    numa: Numa | None = None
    cache_type: CacheType = "f16"
    flash_attention: bool | None = None
    deterministic: bool = False
    speculate: bool | None = None
    parked_bytes: int = PARKED_BYTES
    parked_folder: Path | None = None
    folder_bytes: int = 4 << 30

    @property
    def most_guesses(self) -> int:
        """Rows of guesses that a decode may have beyond one row for each sequence."""
        return 0 if self.speculate is False or self.deterministic else MOST_GUESSES

    def check(self, info: GGUFInfo) -> None:
        """Raise ModelError for settings that this model cannot have, before anything is loaded."""
        if self.cache_type not in CACHE_TYPES:
            raise ModelError(f"cache_type must be one of {', '.join(CACHE_TYPES)}, not {self.cache_type!r}")
        if self.numa is not None and self.numa not in NUMA_STRATEGIES:
            raise ModelError(f"numa must be one of {', '.join(NUMA_STRATEGIES)}, not {self.numa!r}")
        if self.length > info.context_length > 0:
            raise ModelError(
                f"a context of {self.length} tokens is more than the {info.context_length} that {info.name} was "
                "trained for; ask for fewer"
            )
        if self.cache_type != "f16":
            if self.flash_attention is False:
                raise ModelError(f"a {self.cache_type} cache needs flash attention; leave it on, or use f16")
            if info.head_length % 32:
                raise ModelError(
                    f"a {self.cache_type} cache needs heads of a multiple of 32 values, and this model's have "
                    f"{info.head_length}; use f16"
                )
        if self.parked_bytes < 0 or self.folder_bytes < 0:
            raise ModelError("parked_bytes and folder_bytes cannot be negative; 0 parks nothing")
