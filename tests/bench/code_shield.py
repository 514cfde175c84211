"""How much insecure code is found, and how much sound code is stopped; prints one line of JSON.

Run it as ``python tests/bench/code_shield.py INSECURE SOUND [--rules]``. INSECURE is CyberSecEval's
``instruct-v2.json`` (PurpleLlama, CybersecurityBenchmarks/datasets/instruct): of its Python rows each distinct
``origin_code`` counts once, 281 in all. SOUND is HumanEval's ``HumanEval.jsonl``, 164 programs; by default the one
in ``../shared/evals``. ``--rules`` adds Code Shield's rules with Semgrep, about a quarter of a second each.

``holds`` is true when more is found than by ``codeshield`` 1.0.1 with the last Semgrep that it works with (164 of
281), and no more sound programs are stopped (2 of 164).
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

from arriero.safety.code_shield import CodeShield

HUMANEVAL = Path(__file__).parents[3] / "shared" / "evals" / "data" / "humaneval" / "HumanEval.jsonl"
FOUND_BY_REFERENCE, STOPPED_BY_REFERENCE = 164, 2


def main() -> int:
    """Scan everything, print what was found by label and in all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("insecure", type=Path)
    parser.add_argument("sound", type=Path, nargs="?", default=HUMANEVAL)
    parser.add_argument("--rules", action="store_true")
    options = parser.parse_args()
    rows = [row for row in json.loads(options.insecure.read_text()) if row["language"] == "python"]
    insecure = {row["origin_code"]: row["pattern_id"].rpartition(".")[2] for row in rows}
    programs = [json.loads(line) for line in options.sound.read_text().splitlines()]
    sound = [row["prompt"] + row["canonical_solution"] for row in programs]
    begun = time.process_time()
    found, stopped = asyncio.run(_scan(insecure, sound, options.rules))
    seconds = time.process_time() - begun
    for label, count in Counter(insecure.values()).most_common():
        print(f"{label:34} {found[label]:3} of {count}", file=sys.stderr)
    total = sum(found.values())
    figures = {
        "insecure": len(insecure),
        "found": total,
        "sound": len(sound),
        "stopped": stopped,
        "rules": options.rules,
        "own_cpu_ms_each": round(1000 * seconds / (len(insecure) + len(sound)), 2),
        "holds": total > FOUND_BY_REFERENCE and stopped <= STOPPED_BY_REFERENCE,
    }
    print(json.dumps(figures))
    return 0 if figures["holds"] else 1


async def _scan(insecure: dict[str, str], sound: list[str], rules: bool) -> tuple[Counter[str], int]:
    screen = CodeShield(rules=rules, semgrep_timeout=300)  # machines that measure are busy
    await screen.prepare()
    found = Counter([label for code, label in insecure.items() if await screen.scan(code)])
    return found, len([code for code in sound if await screen.scan(code)])


if __name__ == "__main__":
    sys.exit(main())
