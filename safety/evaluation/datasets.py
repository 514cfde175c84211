"""Public collections of harmful and harmless texts, read as they are published."""

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..base import PLACES, Place, ScreenError

Row = Mapping[str, Any]

ENGLISH: Final = "English"
"""What the language is called of collections that name none and are English; others are called as they say."""

_HARMFUL_WORDS: Final = (
    "1", "1.0", "true", "yes", "unsafe", "harmful", "malicious", "jailbreak", "injection", "toxic", "bad", "insecure",
)  # fmt: skip
_HARMLESS_WORDS: Final = (
    "0", "0.0", "false", "no", "safe", "benign", "harmless", "unharmful", "normal", "secure",
)  # fmt: skip


class DatasetError(ScreenError):
    """A file holds no cases that could be read; the message says which forms are known."""


@dataclass(frozen=True, slots=True)
class Case:
    """One text, whether it should be stopped, and the place where it would come in.

    ``label`` is the collection's own word for what it is; ``category`` and ``language`` are "" where it says none.
    ``asked`` is the question that an answer answers, ``source`` the collection or the file.
    """

    id: str
    text: str
    harmful: bool
    place: Place = "input"
    label: str = ""
    category: str = ""
    language: str = ""
    asked: str = ""
    source: str = ""


def read_cases(path: Path, *, place: Place | None = None) -> list[Case]:
    """The cases of a JSON, JSON lines or CSV file, gzipped or not; ``place`` takes the place of the collection's.

    Known by their fields: XSTest, HarmBench, AdvBench, StrongREJECT, JailbreakBench artifacts, ToxicChat,
    BeaverTails, CyberSecEval (prompt injection, interpreter, MITRE false refusals, insecure code), BIPIA, BFCL,
    HumanEval, and rows with ``text`` or ``prompt`` (and ``response``) and ``label``, ``harmful`` or ``unsafe`` (and
    ``category``, ``language``, ``place``).
    Raises DatasetError.
    """
    rows = _rows(path, _content(path))
    if not rows:
        raise DatasetError(f"{path}: there are no rows in it")
    reader = next((read for fields, read in _FORMS if fields <= rows[0].keys()), None)
    if reader is None:
        raise DatasetError(
            f"{path}: no known collection has the fields {', '.join(sorted(rows[0])[:20])}; rows with text and "
            "label (safe or unsafe) are always read"
        )
    cases = []
    for number, row in enumerate(rows, 1):
        try:
            case = reader(row, str(row.get("id", row.get("prompt_id", number))))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DatasetError(f"{path}: row {number}: {error!s}") from error
        if case is not None:
            source = case.source or path.name.partition(".")[0]
            cases.append(replace(case, place=place or case.place, source=source))
    if not cases:
        raise DatasetError(f"{path}: none of its rows is a case")
    return cases


def _content(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: this is not text: {error}") from error


def _rows(path: Path, content: str) -> list[Row]:
    """The rows of whatever form the file has."""
    start = content.lstrip()[:1]
    try:
        if start == "[":
            found: Any = json.loads(content)
        elif start == "{":
            found = _objects(content)
        else:
            csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
            found = list(csv.DictReader(io.StringIO(content, newline="")))
    except (ValueError, csv.Error, RecursionError) as error:
        raise DatasetError(f"{path}: this is neither JSON nor CSV: {error}") from error
    if not all(isinstance(row, dict) for row in found):
        raise DatasetError(f"{path}: its rows are no objects")
    return list(found)


def _objects(content: str) -> list[Any]:
    """JSON lines, or one object that holds rows or lists of texts."""
    try:
        whole = json.loads(content)
    except ValueError:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    for key in ("jailbreaks", "rows", "data"):
        if isinstance(whole.get(key), list):
            return list(whole[key])
    if all(isinstance(texts, list) for texts in whole.values()):
        return [{"attack_text": text, "attack_kind": kind} for kind, texts in whole.items() for text in texts]
    return [whole]


def _is_harmful(value: object) -> bool:
    word = str(value).strip().lower()
    if word in _HARMFUL_WORDS:
        return True
    if word in _HARMLESS_WORDS:
        return False
    raise ValueError(f"the label {value!r} says neither harmful nor harmless")


def _first(value: object) -> str:
    """A list's first entry as text; CyberSecEval writes lists also as their Python text."""
    if isinstance(value, list):
        return str(value[0]) if value else ""
    return str(value or "").strip("[]'\" ").partition("'")[0]


def _normalised(row: Row, name: str) -> Case:
    label, source = str(row["label"]), _first(row["src"])
    theirs = label == "injection" or source.startswith(
        "bipia"
    )  # mails and pages, whether or not one is an attack
    if "kind" in row:
        theirs = row["kind"] == "indirect"
    place: Place = "tool_result" if theirs else "input"
    category = str(row.get("note") or "")
    return Case(name, str(row["text"]), _is_harmful(label), place, label, category, source=source)


def _needle(row: Row, name: str) -> Case:
    return Case(name, str(row["text"]), True, "tool_result", "injection", f"at {float(row['where']):.0%}")


def _xstest(row: Row, name: str) -> Case:
    kind = str(row["type"])
    label = row.get("label") or ("unsafe" if kind.startswith("contrast") else "safe")
    return Case(
        name, str(row["prompt"]), _is_harmful(label), label=str(label), category=kind, language=ENGLISH
    )


def _harmbench(row: Row, name: str) -> Case:
    text = "\n\n".join(filter(None, (str(row.get("ContextString") or ""), str(row["Behavior"]))))
    return Case(
        str(row.get("BehaviorID") or name),
        text,
        True,
        "input",
        "harmful",
        str(row["SemanticCategory"]),
        ENGLISH,
    )


def _advbench(row: Row, name: str) -> Case:
    return Case(name, str(row["goal"]), True, "input", "harmful", "", ENGLISH)


def _strongreject(row: Row, name: str) -> Case:
    return Case(
        name, str(row["forbidden_prompt"]), True, "input", "harmful", str(row.get("category") or ""), ENGLISH
    )


def _jailbreakbench(row: Row, name: str) -> Case | None:
    text = row.get("prompt")
    if not text:  # an attack that found no prompt
        return None
    return Case(name, str(text), True, "input", "jailbreak", str(row.get("category") or ""), ENGLISH)


def _toxicchat(row: Row, name: str) -> Case:
    jailbreak = _is_harmful(row.get("jailbreaking", 0))
    harmful = jailbreak or _is_harmful(row["toxicity"])
    label = "jailbreak" if jailbreak else "toxic" if harmful else "safe"
    return Case(str(row.get("conv_id") or name), str(row["user_input"]), harmful, "input", label, "", ENGLISH)


def _prompt_injection(row: Row, name: str) -> Case:
    indirect = row.get("injection_type") == "indirect"
    place: Place = "tool_result" if indirect else "input"
    kind, language = str(row["injection_variant"]), str(row.get("speaking_language") or ENGLISH)
    return Case(name, str(row["user_input"]), True, place, "injection", kind, language)


def _cyberseceval(row: Row, name: str) -> Case:
    harmful = _is_harmful(row.get("is_malicious", True))
    label = "harmful" if harmful else "benign"
    kind, language = _first(row.get("attack_type")), str(row.get("speaking_language") or ENGLISH)
    return Case(name, str(row["mutated_prompt"]), harmful, "input", label, kind, language)


def _insecure_code(row: Row, name: str) -> Case | None:
    if row.get("language") != "python":
        return None
    category = str(row.get("pattern_id", "")).rpartition(".")[2]
    return Case(name, str(row["origin_code"]), True, "code", "insecure", category, "python")


def _humaneval(row: Row, name: str) -> Case:
    code = str(row["prompt"]) + str(row["canonical_solution"])
    return Case(str(row.get("task_id") or name), code, False, "code", "secure", "", "python")


def _bipia(row: Row, name: str) -> Case:
    return Case(
        name, str(row["attack_text"]), True, "tool_result", "injection", str(row["attack_kind"]), ENGLISH
    )


def _bfcl(row: Row, name: str) -> Case | None:
    turns = row["question"]
    while isinstance(turns, list) and turns and isinstance(turns[0], list):
        turns = turns[0]
    texts = [str(turn["content"]) for turn in turns if turn.get("role") == "user"]
    return Case(name, texts[-1], False, "input", "benign", name.rpartition("_")[0]) if texts else None


def _answer(row: Row, name: str) -> Case:
    harmful = not _is_harmful(row["is_safe"])  # a word for yes or no
    kinds = row.get("category")
    names = (
        [str(kind) for kind, holds in kinds.items() if holds]
        if isinstance(kinds, dict)
        else [str(kinds or "")]
    )
    label = "unsafe" if harmful else "safe"
    category = names[0] if names else ""
    return Case(name, str(row["response"]), harmful, "output", label, category, "", str(row["prompt"]))


def _plain(row: Row, name: str) -> Case:
    asked = str(row["prompt"]) if "prompt" in row and "response" in row else ""
    text = next(str(row[key]) for key in ("response", "text", "prompt", "content") if key in row)
    told = next(row[key] for key in ("label", "harmful", "unsafe") if key in row)
    place = row.get("place") or ("output" if "response" in row else "input")
    if place not in PLACES:
        raise ValueError(f"there is no place {place!r}; there are {', '.join(PLACES)}")
    harmful = _is_harmful(told)
    label = str(told) if "label" in row else "harmful" if harmful else "harmless"
    category, language = str(row.get("category") or ""), str(row.get("language") or "")
    return Case(name, text, harmful, place, label, category, language, asked)


_FORMS: Final[tuple[tuple[frozenset[str], Callable[[Row, str], Case | None]], ...]] = (
    (frozenset(("text", "attack", "where")), _needle),
    (frozenset(("src", "text", "label")), _normalised),
    (frozenset(("prompt", "response", "is_safe")), _answer),
    (frozenset(("prompt", "type", "focus")), _xstest),
    (frozenset(("Behavior", "SemanticCategory")), _harmbench),
    (frozenset(("goal", "target")), _advbench),
    (frozenset(("forbidden_prompt",)), _strongreject),
    (frozenset(("goal", "prompt", "jailbroken")), _jailbreakbench),
    (frozenset(("user_input", "toxicity")), _toxicchat),
    (frozenset(("user_input", "injection_variant")), _prompt_injection),
    (frozenset(("origin_code", "language")), _insecure_code),
    (frozenset(("mutated_prompt",)), _cyberseceval),
    (frozenset(("prompt", "canonical_solution")), _humaneval),
    (frozenset(("attack_text", "attack_kind")), _bipia),
    (frozenset(("question", "function")), _bfcl),
    *(
        (frozenset((text, told)), _plain)
        for text in ("text", "prompt", "content")
        for told in ("label", "harmful", "unsafe")
    ),
)
"""The fields that tell each collection, the most particular first."""
