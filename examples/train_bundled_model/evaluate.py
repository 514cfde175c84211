"""Measures a GGUF file on held-out dialogues: `python -m examples.train_bundled_model.evaluate [FILE]`.

A step is one message of the model, a call or an answer, given the true history before it. It is right if
greedy decoding in llama.cpp writes exactly the expected text and ends it with the expected token. Names, words and
wordings are those that training never shows. The model is decoded as an agent does it, held to the tools on offer
from where a call opens; since a grammar fixes the order of arguments, a call of a function is right if its name and
its arguments are. With `--free` nothing holds it, and the order counts too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from arriero.agent.backends.base import Constraint, Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.prompts import CODE_INTERPRETER, ToolSpec
from arriero.prompts.dialects import get_dialect

from . import mix, wire
from .dialog import Context, Turns
from .words import Source

BUNDLED = Path(__file__).resolve().parents[2] / "agent" / "models" / "bundled.gguf"
TARGET = 0.95
GREEDY = Sampling(temperature=0)
LONGEST_STEP = 400


@dataclass
class Tally:
    """Steps of one skill."""

    right: int = 0
    total: int = 0
    wrong: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the steps that are exactly right."""
        return self.right / self.total if self.total else 0.0


async def write(model: LlamaCppModel, context: Context, turns: Turns, *, grammar: bool = False) -> str:
    """What the model writes after these turns, control tokens by name."""
    functions, builtin = wire.tools(context)
    prompt = get_dialect().render(
        wire.messages(context, turns),
        tools=functions,
        builtin_tools=builtin,
        date=datetime.strptime(context.date, "%d %B %Y").date(),
    )
    text = ""
    constraint = Constraint(offered(context)) if grammar and offered(context) else None
    tokens = model.tokenize(prompt)
    async for token in model.generate(tokens, GREEDY, max_tokens=LONGEST_STEP, constraint=constraint):
        text += token.text
    return text


def offered(context: Context) -> tuple[ToolSpec, ...]:
    """The tools of a dialogue as an agent has them."""
    functions, builtin = wire.tools(context)
    query = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    code = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}
    own = [
        ToolSpec(name=name, parameters=code if name == CODE_INTERPRETER else query) for name in builtin or ()
    ]
    return (*own, *(functions or ()))


def same(want: str, got: str, *, by_value: bool) -> bool:
    """Whether what was written is what was expected; with ``by_value`` JSON calls may order their arguments."""
    if want == got or not by_value or not (want.startswith("{") and got.startswith("{")):
        return want == got
    end = "<|eom_id|>"
    try:
        return got.endswith(end) and json.loads(want.removesuffix(end)) == json.loads(got.removesuffix(end))
    except ValueError:
        return False


def expected(context: Context, turns: Turns) -> str:
    """What the model has to write as the last of these turns."""
    pieces = wire.pieces(context, turns)
    last = max(i for i, p in enumerate(pieces) if p.text == "<|start_header_id|>")
    return "".join(p.text for p in pieces[last:] if p.own)


async def measure(
    model: LlamaCppModel, skill: str, dialogues: int, seed: str, *, odd: bool = False, grammar: bool = False
) -> Tally:
    """Every step of that many held-out dialogues of the skill."""
    tally = Tally()
    source = Source(f"{seed}-{skill}", held_out=True, odd=odd)
    for _ in range(dialogues):
        context, turns = mix.dialogue(source, skill)
        for at, turn in enumerate(turns):
            if turn.kind in ("user", "result"):
                continue
            want = expected(context, turns[: at + 1])
            got = await write(model, context, turns[:at], grammar=grammar)
            tally.total += 1
            if same(want, got, by_value=grammar):
                tally.right += 1
            else:
                tally.wrong.append((turns[at - 1].text, want, got))
    return tally


def table(tallies: dict[str, Tally]) -> str:
    """The result as a Markdown table."""
    lines = ["| skill | steps | exactly right |", "|---|---:|---:|"]
    lines += [f"| {skill} | {t.total} | {100 * t.share:.1f} % |" for skill, t in tallies.items()]
    total = Tally(sum(t.right for t in tallies.values()), sum(t.total for t in tallies.values()))
    return "\n".join([*lines, f"| **all** | {total.total} | {100 * total.share:.1f} % |"])


async def run(options: argparse.Namespace) -> dict[str, Tally]:
    """Load the model and measure every skill."""
    model = LlamaCppModel(options.file, n_threads=options.threads)
    try:
        return {
            s: await measure(
                model, s, options.dialogues, options.seed, odd=options.odd, grammar=not options.free
            )
            for s in options.skill or mix.SKILLS
        }
    finally:
        await model.aclose()


def main() -> int:
    """Command line; the exit status is 0 only if every skill reaches 95 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=BUNDLED)
    parser.add_argument("--dialogues", type=int, default=100, help="per skill")
    parser.add_argument("--seed", default="evaluation", help="another seed draws other dialogues")
    parser.add_argument(
        "--skill", action="append", choices=mix.SKILLS, help="measure only this one; may be repeated"
    )
    parser.add_argument(
        "--odd", action="store_true", help="a harder set: names of random letters and pieces of words as well"
    )
    parser.add_argument(
        "--free", action="store_true", help="do not hold the model to the tools on offer, as an agent does"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--wrong", type=int, default=0, help="show up to that many wrong steps per skill")
    options = parser.parse_args()
    tallies = asyncio.run(run(options))
    print(table(tallies))
    for skill, tally in tallies.items():
        for before, want, got in tally.wrong[: options.wrong]:
            print(f"\n{skill}: after {before!r}\n  expected {want!r}\n  got      {got!r}")
    return 0 if all(t.share >= TARGET for t in tallies.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
