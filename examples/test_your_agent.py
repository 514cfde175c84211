"""Test an agent of your own without a model: a script of raw answers, in milliseconds.

Run it: pytest examples/test_your_agent.py
"""

from arriero import Agent, ScriptedModel


def refund(order: int, reason: str) -> str:
    """Refund an order."""
    return f"order {order} refunded: {reason}"


def test_the_agent_refunds_once_and_reports_it() -> None:
    model = ScriptedModel(
        [
            '{"name": "refund", "parameters": {"order": "17", "reason": "broken"}}<|eom_id|>',
            "Order 17 was refunded.<|eot_id|>",
        ]
    )
    with Agent(model, tools=[refund]) as agent:
        result = agent.run_sync("Order 17 arrived broken.")
    model.assert_complete()
    assert result.output == "Order 17 was refunded."
    assert [m.content for m in result.messages if m.role == "ipython"] == ["order 17 refunded: broken"]
