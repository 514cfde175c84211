"""What a GGUF file says about itself, read and checked before llama.cpp sees it.

llama.cpp aborts the whole process on some broken files, so everything that it asserts is checked here first.
"""

import math
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .base import ModelError
from .gguf_format import (
    INT32,
    STRING,
    ArraySummary,
    Cursor,
    Scalar,
    ShortBufferError,
    Tensor,
    Value,
    read_tensor,
    read_value,
)

MAX_HEADER = 512 << 20  # bytes; Llama 3's, with its vocabulary, has 8 MB
MAX_ENTRIES = 1 << 20  # tensors, or metadata keys

TOKENS = "tokenizer.ggml.tokens"
TOKEN_TYPES = "tokenizer.ggml.token_type"

BEGIN_OF_TEXT = "<|begin_of_text|>"
END_OF_TEXT = "<|end_of_text|>"
START_HEADER = "<|start_header_id|>"
END_HEADER = "<|end_header_id|>"
EOT = "<|eot_id|>"
EOM = "<|eom_id|>"
PYTHON_TAG = "<|python_tag|>"
SPECIAL_NAMES = (BEGIN_OF_TEXT, END_OF_TEXT, START_HEADER, END_HEADER, EOT, EOM, PYTHON_TAG)
REQUIRED_NAMES = (BEGIN_OF_TEXT, START_HEADER, END_HEADER, EOT)

_FIRST_READ = 16 << 20


@dataclass(frozen=True, slots=True)
class GGUFInfo:
    """The header of a GGUF file.

    ``metadata`` has every key; long arrays are summarised, the vocabulary is in ``tokens``. ``special`` maps
    the Llama 3 control tokens that the vocabulary has to their ids. ``size`` is the file's, in bytes.
    """

    path: Path
    version: int
    size: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...] = field(repr=False)
    tokens: tuple[str, ...] = field(repr=False)
    special: Mapping[str, int]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "GGUFInfo":
        """Read and check the header of the file at ``path``; a vocabulary without weights passes.

        Raises ModelError, one line, for anything that is not a whole and consistent GGUF file.
        """
        file = Path(path).expanduser()
        try:
            return _read(cls, file)
        except ModelError as error:
            raise ModelError(_line(file, error)) from None
        except OSError as error:
            raise ModelError(_line(file, error.strerror or error)) from error
        except ValueError as error:  # a path with a NUL in it
            raise ModelError(_line(file, error)) from error
        except MemoryError:
            raise ModelError(_line(file, "there is not even memory to read its header")) from None

    @property
    def architecture(self) -> str:
        """``general.architecture``, such as ``llama``; "" if the file does not say."""
        return self.text("general.architecture")

    @property
    def name(self) -> str:
        """``general.name`` as one short line, else the file's name without its ending."""
        return _printable(self.text("general.name"))[:100].strip() or self.path.stem

    @property
    def chat_template(self) -> str | None:
        """The Jinja2 chat template that came with the model; informative, never executed here."""
        return self.text("tokenizer.chat_template") or None

    @property
    def context_length(self) -> int:
        """Tokens that the model was trained for; 0 if the file does not say."""
        return self.number("context_length")

    @property
    def heads(self) -> int:
        """Attention heads of a layer; at least 1."""
        return self.number("attention.head_count") or 1

    @property
    def head_length(self) -> int:
        """Values in the key of one head."""
        return self.number("attention.key_length") or self.number("embedding_length") // self.heads

    @property
    def kv_values_per_layer(self) -> int:
        """Values that one layer keeps for one token: key-value heads x (key + value length)."""
        kv_heads = self.number("attention.head_count_kv") or self.heads
        values = self.number("attention.value_length") or self.number("embedding_length") // self.heads
        return kv_heads * (self.head_length + values)

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes that one token takes in an f16 cache: layers x values of a layer x 2."""
        return self.number("block_count") * self.kv_values_per_layer * 2

    def text(self, key: str) -> str:
        """The string at ``key``; "" if it is missing or no string."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """The whole number at ``<architecture>.<key>``; 0 if it is missing or no whole number."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def require_chat_model(self) -> None:
        """Raise ModelError unless this is a causal model with weights and Llama 3's control tokens."""
        try:
            _check_chat_model(self)
        except ModelError as error:
            raise ModelError(_line(self.path, error)) from None


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _line(path: Path, problem: object) -> str:
    """One line that a terminal can show, whatever the file or its name says."""
    return _printable(f"{path}: {problem}")


def _read(cls: type[GGUFInfo], path: Path) -> GGUFInfo:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ModelError("is a directory, not a model file" if path.is_dir() else "is not a regular file")
    size = status.st_size
    want = _FIRST_READ
    with path.open("rb") as file:
        data = file.read(want)
        _check_magic(data, size)
        while True:
            try:
                return _parse(cls, path, Cursor(data, size))
            except ShortBufferError:
                if want >= MAX_HEADER or len(data) < want:
                    raise ModelError("its header is larger than any model's: the file is damaged") from None
                data += file.read(want * 3)
                want *= 4


def _check_magic(data: bytes, size: int) -> None:
    if size == 0:
        raise ModelError("is empty")
    if data.startswith(b"version https://git-lfs"):
        raise ModelError("is a Git LFS pointer, not the model itself; fetch the file with: git lfs pull")
    if data[:4] != b"GGUF":
        raise ModelError(f"is not a GGUF file (it starts with {data[:8]!r})")


def _parse(cls: type[GGUFInfo], path: Path, cursor: Cursor) -> GGUFInfo:
    cursor.take(4)
    version = cursor.unpack("I")
    if version & 0xFFFF == 0:
        raise ModelError("is a big-endian GGUF file, which this machine cannot use")
    if version not in (2, 3):
        raise ModelError(f"is GGUF version {version}; versions 2 and 3 are understood")
    n_tensors, n_keys = cursor.unpack("Q"), cursor.unpack("Q")
    if n_tensors > MAX_ENTRIES or n_keys > MAX_ENTRIES:
        raise ModelError(f"claims {n_tensors} tensors and {n_keys} metadata keys: it is damaged")
    metadata: dict[str, Value] = {}
    long: dict[str, tuple[Scalar, ...]] = {TOKENS: (), TOKEN_TYPES: ()}
    for _ in range(n_keys):
        key = cursor.string()
        if key in metadata:
            raise ModelError(f"has the metadata key {key!r} twice: it is damaged")
        metadata[key] = read_value(cursor, key, long)
    table = [read_tensor(cursor) for _ in range(n_tensors)]
    _check_data(metadata, table, cursor)
    tokens = tuple(str(token) for token in long[TOKENS])
    _check_tokens(metadata, tokens, long)
    special = _special_ids(tokens)
    return cls(path, version, cursor.limit, metadata, tuple(table), tokens, special)


def _check_data(metadata: Mapping[str, Value], table: list[Tensor], cursor: Cursor) -> None:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
        raise ModelError(f"claims an alignment of {alignment} bytes: it is damaged")
    if len({tensor.name for tensor in table}) < len(table):
        raise ModelError("has two tensors of one name: it is damaged")
    if not table:
        return
    start = math.ceil(cursor.at / alignment) * alignment
    end = start + max(tensor.offset + tensor.nbytes for tensor in table)
    if end > cursor.limit:
        raise ModelError(
            f"is truncated: its tensors end at byte {end}, the file at byte {cursor.limit}; get it again"
        )
    if any(tensor.offset % alignment for tensor in table):
        raise ModelError("has a tensor at an unaligned offset: it is damaged")


def _check_tokens(
    metadata: Mapping[str, Value], tokens: tuple[str, ...], long: Mapping[str, tuple[Scalar, ...]]
) -> None:
    summary = metadata.get(TOKENS)
    if isinstance(summary, ArraySummary) and summary.element != STRING:
        raise ModelError("has a vocabulary that is not text: it is damaged")
    _check_duplicates(tokens)
    types = metadata.get(TOKEN_TYPES)
    if types is not None and types != ArraySummary(INT32, len(tokens)):
        raise ModelError("has token types that do not match its vocabulary: it is damaged")
    if not all(isinstance(kind, int) and 0 <= kind <= 6 for kind in long[TOKEN_TYPES]):
        raise ModelError("has a token of an unknown type: it is damaged")


def _check_duplicates(tokens: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for token in tokens:
        known = token.partition("\0")[
            0
        ]  # llama.cpp reads a token up to its first NUL, and renames empty ones
        if known in seen:
            raise ModelError(f"has the token {known[:40]!r} twice, which llama.cpp cannot load")
        if known:
            seen.add(known)


def _special_ids(tokens: Iterable[str]) -> dict[str, int]:
    wanted = set(SPECIAL_NAMES)
    return {token: index for index, token in enumerate(tokens) if token in wanted}


def _check_chat_model(info: GGUFInfo) -> None:
    for check in (_check_kind, _check_shards, _check_vocabulary, _check_geometry):
        check(info)


def _check_kind(info: GGUFInfo) -> None:
    arch = info.architecture
    if not arch:
        raise ModelError("does not name its architecture: it is no language model")
    pooled = f"{arch}.pooling_type" in info.metadata
    if pooled or "bert" in arch or info.metadata.get(f"{arch}.attention.causal") is False:
        raise ModelError(f"is an embedding model ({arch}); it cannot write text")
    if not info.tensors:
        raise ModelError("holds a vocabulary but no weights; it can tokenise, not write")


def _check_shards(info: GGUFInfo) -> None:
    count, number = info.metadata.get("split.count", 1), info.metadata.get("split.no", 0)
    if not isinstance(count, int) or count <= 1:
        return
    if number != 0:
        raise ModelError(f"is part {number} of {count} of a split model; give the first part (…-00001-of-…)")
    if count > 1000:
        raise ModelError(f"claims to be split into {count} parts: it is damaged")
    stem = info.path.name.removesuffix(f"-00001-of-{count:05}.gguf")
    for part in range(2, count + 1):
        other = info.path.with_name(f"{stem}-{part:05}-of-{count:05}.gguf")
        if not other.is_file():
            raise ModelError(f"is split into {count} parts and {other.name} is missing beside it")


def _check_vocabulary(info: GGUFInfo) -> None:
    if not info.tokens:
        raise ModelError("has no vocabulary")
    missing = [name for name in REQUIRED_NAMES if name not in info.special]
    if missing:
        raise ModelError(f"is no Llama 3 chat model: its vocabulary lacks {', '.join(missing)}")


def _check_geometry(info: GGUFInfo) -> None:
    """Numbers by which llama.cpp divides or sizes memory."""
    embedding, heads = info.number("embedding_length"), info.number("attention.head_count")
    kv_heads = info.number("attention.head_count_kv") or heads
    rules = {
        "block_count": 0 < info.number("block_count") <= 4096,
        "context_length": 0 < info.context_length <= 1 << 30,
        "embedding_length": 0 < embedding <= 1 << 24,
        "attention.head_count": 0 < heads <= 1 << 16
        and (embedding % heads == 0 or info.number("attention.key_length") > 0),
        "attention.head_count_kv": heads > 0 and 0 < kv_heads <= heads and heads % kv_heads == 0,
    }
    for key, holds in rules.items():
        if not holds:
            raise ModelError(f"has no usable {info.architecture}.{key}: it is damaged")
    shape = next((tensor.shape for tensor in info.tensors if tensor.name == "token_embd.weight"), None)
    if shape != (embedding, len(info.tokens)):
        raise ModelError(f"has token embeddings of shape {shape}, not {(embedding, len(info.tokens))}")
