"""What a user of the installed wheel relies on, run in an empty folder: python -I smoke.py ENVIRONMENT."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import arriero
from arriero import Agent, ScriptedModel

environment = Path(sys.argv[1]).resolve()
command = environment / "bin" / "arriero"


def check(what: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"smoke test: {what}: no")
    sys.stdout.write(f"smoke test: {what}: yes\n")


def main() -> None:
    check(
        "the package comes from the wheel", Path(str(arriero.__file__)).resolve().is_relative_to(environment)
    )
    package = files("arriero")
    templates = [entry.name for entry in (package / "prompts" / "templates").iterdir()]
    check(f"{len(templates)} templates are packed", bool(templates))
    check("the bundled model is packed", (package / "agent" / "models" / "bundled.gguf").is_file())
    check("py.typed is packed", (package / "py.typed").is_file())
    check("every public name is there", all(hasattr(arriero, name) for name in arriero.__all__))

    def double(number: int) -> int:
        """Twice a number."""
        return 2 * number

    call = '{"name": "double", "parameters": {"number": 21}}<|eom_id|>'
    agent = Agent(ScriptedModel([call, "It is 42.<|eot_id|>"]), tools=[double])
    result = agent.run_sync("What is twice 21?")
    check("a scripted model calls a function and answers", result.output == "It is 42.")

    question = "What is 23 * 47?"
    asked = subprocess.run([command, question], capture_output=True, text=True, timeout=120)
    check(f"the bundled model answers {question!r}: {asked.stdout.strip()!r}", "1081" in asked.stdout)


if __name__ == "__main__":
    main()
