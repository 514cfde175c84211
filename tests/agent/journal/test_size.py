"""What a journal takes on the disk: about the same for every step, however long the conversation."""

from pathlib import Path

from arriero.agent import Agent, Journal, Limits
from arriero.agent.backends import ScriptedModel
from arriero.agent.events import Event, StepStarted
from arriero.tools import tool

STEPS = 1000
A_STEP = 6 * 1024  # bytes, beside contents that no other step has
CALL = '{"name": "look", "parameters": {"number": %d}}<|eom_id|>'


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def test_a_thousand_steps_take_linear_space(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    sizes: list[int] = []

    @tool(effect="read")
    async def look(number: int) -> str:
        """Look."""
        return f"saw {number}"

    def measure(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step in (1, STEPS // 2, STEPS):
            journal.close()  # what has been said so far is in the file then
            sizes.append(size(journal.path))

    model = ScriptedModel([CALL % number for number in range(STEPS)], chunk=1000, context_length=10**9)
    limits = Limits(max_steps=STEPS, last_answer=False)
    with Agent(model, tools=[look], journal=journal, limits=limits, hooks=[measure], guards=None) as agent:
        assert agent.run_sync("Go").stop_reason == "max_steps"
    journal.close()
    begun, half, whole = sizes
    first, second = (half - begun) / (STEPS / 2), (whole - half) / (STEPS / 2)
    assert second <= A_STEP, f"{first:.0f} and {second:.0f} bytes a step"
    # How well events pack depends on how many come together, and so on the machine's pace.
    assert second <= 1.4 * first, f"{first:.0f} and {second:.0f} bytes a step"
