"""The options that questions, conversations and most subcommands share."""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
LAST: Final = "last"
"""How the journal calls the session that was used last."""
TOOL_NAMES: Final = ("python", "search", "wolfram", "documents", "fetch")


class Choice(click.Choice[str]):
    """One of some words; of a mistyped one it says which was meant."""

    def get_invalid_choice_message(self, value: str, ctx: click.Context | None) -> str:
        """What is wrong, with the words that there are."""
        said = super().get_invalid_choice_message(value, ctx)
        close = difflib.get_close_matches(value, self.choices, n=1)
        return f"{said} Did you mean {close[0]!r}?" if close else said


OPTIONS: Final[Sequence[Callable[[Any], Any]]] = (
    click.option(
        "-m",
        "--model",
        envvar="ARRIERO_MODEL",
        default="bundled",
        show_default=True,
        metavar="MODEL",
        help="A Llama 3.x Instruct GGUF file, a name from: arriero models list, or a server's http://HOST:PORT; "
        "or bundled, or script:FILE to replay raw answers.",
    ),
    click.option(
        "-s",
        "--system",
        "instructions",
        envvar="ARRIERO_SYSTEM",
        metavar="TEXT",
        help="Instructions for the model.",
    ),
    click.option(
        "--tool",
        "tools",
        multiple=True,
        type=Choice(TOOL_NAMES),
        help="Offer only this tool (repeatable); default: python, search and wolfram, where they work.",
    ),
    click.option(
        "--docs",
        envvar="ARRIERO_DOCS",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Offer a search of the documents in this folder.",
    ),
    click.option(
        "--mcp",
        envvar="ARRIERO_MCP",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help='Offer the tools of the MCP servers in this file, {"mcpServers": {…}} (repeatable).',
    ),
    click.option(
        "--approve",
        multiple=True,
        metavar="PATTERN",
        help="Run such calls unasked where approval is needed: 'files_*', 'pay(sum=[0-9])' (repeatable).",
    ),
    click.option(
        "--ask",
        multiple=True,
        metavar="PATTERN",
        help="Ask before such calls, also where no approval is needed: python, 'fetch(url=*)' (repeatable).",
    ),
    click.option(
        "--deny",
        multiple=True,
        metavar="PATTERN",
        help="Run no such calls, whoever approves (repeatable); wins over --ask, and that over --approve.",
    ),
    click.option(
        "--safety",
        envvar="ARRIERO_SAFETY",
        default="default",
        show_default=True,
        metavar="POLICY",
        help="What screens texts: default, strict, off, or a TOML file (see docs/safety.md).",
    ),
    click.option(
        "--safe-search",
        envvar="ARRIERO_SAFE_SEARCH",
        type=Choice(["off", "moderate", "strict"]),
        help="What web search leaves out; default: as the provider does.",
    ),
    click.option(
        "--freshness",
        envvar="ARRIERO_FRESHNESS",
        type=Choice(["day", "week", "month", "year"]),
        help="Age of the pages that web search finds; default: any.",
    ),
    click.option("--no-tools", is_flag=True, help="Offer no tools of its own."),
    click.option(
        "--sandbox",
        envvar="ARRIERO_SANDBOX",
        type=Choice(["auto", "bubblewrap", "landlock"]),
        default="auto",
        show_default=True,
        help="Level of the sandbox that Python runs in.",
    ),
    click.option(
        "--python",
        envvar="ARRIERO_PYTHON",
        metavar="PATH",
        help="Run code in this Python or virtual environment, with its packages; it needs ipykernel.",
    ),
    click.option(
        "--unsafe-no-sandbox",
        is_flag=True,
        help="Run the model's Python with all your rights. Only inside a container of your own.",
    ),
    click.option(
        "--temperature",
        envvar="ARRIERO_TEMPERATURE",
        type=click.FloatRange(0, 100),
        help="0 always takes the likeliest token.",
    ),
    click.option(
        "--top-p",
        envvar="ARRIERO_TOP_P",
        type=click.FloatRange(0, 1, min_open=True),
        help="Nucleus sampling.",
    ),
    click.option(
        "--seed", envvar="ARRIERO_SEED", type=click.IntRange(0, 2**32 - 1), help="Repeats the same choices."
    ),
    click.option(
        "--max-steps",
        envvar="ARRIERO_MAX_STEPS",
        type=click.IntRange(1),
        help="Model calls a question.",
    ),
    click.option(
        "--max-tokens", envvar="ARRIERO_MAX_TOKENS", type=click.IntRange(1), help="Tokens sampled a question."
    ),
    click.option(
        "--ctx", "context", envvar="ARRIERO_CTX", type=click.IntRange(64), help="Context length in tokens."
    ),
    click.option(
        "--isolated",
        is_flag=True,
        envvar="ARRIERO_ISOLATED",
        help="Run a model file in a process of its own: should it crash, this one goes on.",
    ),
    click.option("--dialect", envvar="ARRIERO_DIALECT", metavar="NAME", help="Wire form; default: by model."),
    click.option("--session", metavar="NAME", help="Go on with this session, or begin one of that name."),
    click.option("-c", "--continue", "latest", is_flag=True, help="Go on with the latest session."),
    click.option(
        "--journal/--no-journal",
        default=True,
        envvar="ARRIERO_JOURNAL",
        help="Whether this is written to the journal; default: it is.",
    ),
    click.option(
        "--show-tools",
        envvar="ARRIERO_SHOW_TOOLS",
        type=Choice(["full", "line", "off"]),
        default="full",
        show_default=True,
        help="How much of tool calls is shown: call and result, a line each, or nothing.",
    ),
    click.option("--plain", is_flag=True, envvar="ARRIERO_PLAIN", help="No colour, no boxes, no Markdown."),
    click.option("-q", "--quiet", is_flag=True, help="Only the answer: no tools, no notices."),
    click.option("--debug", is_flag=True, envvar="ARRIERO_DEBUG", help="Tracebacks and log lines on stderr."),
)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
