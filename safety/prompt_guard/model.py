"""Prompt Guard's files: which version a folder holds, and the classifier in it."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..base import ScreenError

Version = Literal[1, 2]
Logits = NDArray[np.float32]

ARCHITECTURE: Final = "DebertaV2ForSequenceClassification"
ONNX_FILES: Final = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
"""Where exporters put the graph, by preference."""

_LABELS: Final[dict[Version, tuple[frozenset[str], ...]]] = {
    1: (
        frozenset({"benign", "label_0"}),
        frozenset({"injection", "label_1"}),
        frozenset({"jailbreak", "label_2"}),
    ),
    2: (frozenset({"benign", "label_0"}), frozenset({"malicious", "label_1"})),
}
GET_IT: Final = (
    "get it with: arriero models pull prompt-guard-22m (Meta's licence accepted, HF_TOKEN set), and export it with: "
    'optimum-cli export onnx --model "$(arriero models path prompt-guard-22m)" --task text-classification FOLDER'
)


class Classifier(Protocol):
    """What scores windows: framed token ids in, one row of logits for each out. It may raise anything."""

    def logits(self, ids: Sequence[Sequence[int]]) -> Logits: ...


@dataclass(frozen=True, slots=True)
class GuardFolder:
    """A model folder that was recognised: its version, from the labels in ``config.json``."""

    path: Path
    version: Version
    pad: int = 0

    @classmethod
    def read(cls, path: Path, version: Version | None = None) -> "GuardFolder":
        """Recognise a folder; ``version`` is the one that must be in it.

        Raises ScreenError if it is no Prompt Guard, or of another version: the labels of version 1 mean something
        else than those of version 2.
        """
        config = _config(path)
        architectures = config.get("architectures")
        if config.get("model_type") != "deberta-v2" or architectures not in ([ARCHITECTURE], None):
            kind = architectures or config.get("model_type")
            raise ScreenError(f"{path}: this is no Prompt Guard but {kind!r}; {GET_IT}")
        found = _version(path, config)
        if version is not None and found != version:
            raise ScreenError(
                f"{path}: this is Prompt Guard {found}, and the configuration says {version}; "
                "correct the one or the other, their labels differ"
            )
        pad = config.get("pad_token_id")
        return cls(path, found, pad if isinstance(pad, int) else 0)

    @property
    def labels(self) -> int:
        return len(_LABELS[self.version])

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    def classifier(self, threads: int | None = None) -> Classifier:
        """The classifier: on ONNX Runtime where there is a graph, else on transformers. Raises ScreenError."""
        for name in ONNX_FILES:
            if (self.path / name).is_file():
                return OnnxClassifier(self.path / name, labels=self.labels, pad=self.pad, threads=threads)
        if (self.path / "model.safetensors").is_file():
            return TransformersClassifier(self.path, pad=self.pad)
        raise ScreenError(f"{self.path}: there is neither model.onnx nor model.safetensors; {GET_IT}")


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ScreenError(f"{file}: cannot be read: {error.strerror}; {GET_IT}") from error
    except ValueError as error:
        raise ScreenError(f"{file}: this is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ScreenError(f"{file}: this is not the configuration of a model")
    return config


def _version(path: Path, config: dict[str, Any]) -> Version:
    names = config.get("id2label")
    if isinstance(names, dict):
        labels = [str(names.get(str(index), "")).lower() for index in range(len(names))]
    else:
        count = config.get("num_labels", 2)  # transformers leaves it out where it is two
        labels = [f"label_{index}" for index in range(count)] if isinstance(count, int) else []
    for version, known in _LABELS.items():
        if len(labels) == len(known) and all(map(frozenset.__contains__, known, labels)):
            return version
    raise ScreenError(
        f"{path}: its labels are {labels}; Prompt Guard 1 has BENIGN, INJECTION, JAILBREAK "
        "and Prompt Guard 2 has two, benign and malicious"
    )


def padded(ids: Sequence[Sequence[int]], pad: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of equal length, and a mask that is 1 where there is a token."""
    longest = max(map(len, ids))
    rows = np.full((len(ids), longest), pad, dtype=np.int64)
    mask = np.zeros((len(ids), longest), dtype=np.int64)
    for row, tokens in enumerate(ids):
        rows[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return rows, mask


class OnnxClassifier:
    """A graph on ONNX Runtime, on the processors of this machine.

    ``threads`` defaults to what ONNX Runtime chooses. Raises ScreenError if the graph cannot be loaded, is not that
    of a classifier, or has another number of labels.
    """

    def __init__(self, file: Path, *, labels: int, pad: int = 0, threads: int | None = None) -> None:
        try:
            onnxruntime = import_module("onnxruntime")
        except ImportError as error:
            raise ScreenError("Prompt Guard needs ONNX Runtime: pip install 'arriero[guard]'") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; it would write warnings on the terminal
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # each failure has a class of its own, known only in the library
            raise ScreenError(f"{file}: ONNX Runtime cannot load it: {error}") from error
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._labels, self._pad = labels, pad
        self._check(file)

    def _check(self, file: Path) -> None:
        outputs = self._session.get_outputs()
        width = outputs[0].shape[-1] if outputs and len(outputs[0].shape) == 2 else None
        known = {"input_ids", "attention_mask", "token_type_ids"}
        if width is None or "input_ids" not in self._inputs or not known.issuperset(self._inputs):
            raise ScreenError(f"{file}: this is not the graph of a text classifier")
        if isinstance(width, int) and width != self._labels:
            raise ScreenError(
                f"{file}: the graph has {width} labels and config.json {self._labels}; "
                "the folder mixes two versions, export it anew"
            )

    def logits(self, ids: Sequence[Sequence[int]]) -> Logits:
        """One row of logits for each window."""
        rows, mask = padded(ids, self._pad)
        known = {"input_ids": rows, "attention_mask": mask, "token_type_ids": np.zeros_like(rows)}
        feed = {name: known[name] for name in self._inputs}
        return np.asarray(self._session.run(None, feed)[0], dtype=np.float32)


class TransformersClassifier:
    """The published weights on transformers and torch, where both are installed. Raises ScreenError."""

    def __init__(self, path: Path, *, pad: int = 0) -> None:
        try:
            torch, transformers = import_module("torch"), import_module("transformers")
        except ImportError as error:
            raise ScreenError(
                f"{path}: to run model.safetensors, torch and transformers are needed; {GET_IT}"
            ) from error
        try:
            model = transformers.AutoModelForSequenceClassification.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, use_safetensors=True
            )
        except Exception as error:  # the library documents no classes
            raise ScreenError(f"{path}: transformers cannot load it: {error}") from error
        self._torch: Any = torch
        self._model: Any = model.eval()
        self._lock = threading.Lock()
        self._pad = pad

    def logits(self, ids: Sequence[Sequence[int]]) -> Logits:
        """One row of logits for each window."""
        rows, mask = padded(ids, self._pad)
        torch = self._torch
        with self._lock, torch.inference_mode():
            found = self._model(input_ids=torch.from_numpy(rows), attention_mask=torch.from_numpy(mask))
        return np.asarray(found.logits.float().numpy(), dtype=np.float32)
