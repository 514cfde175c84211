"""What the user asked of the command line, and the places where it keeps files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from arriero.tools.search import Freshness, SafeSearch

BUNDLED: Final = "bundled"
SCRIPT: Final = "script:"

TOOLS: Final = {
    "python": "code_interpreter",
    "search": "brave_search",
    "wolfram": "wolfram_alpha",
    "documents": "search_documents",
    "fetch": "fetch_page",
}
"""Names of tools for people, and the names that the model knows them by."""

UNASKED: Final = ("python", "search", "wolfram")
"""Tools that are offered without being named, where they work."""

ShowTools = Literal["full", "line", "off"]
"""How much of finished calls is shown: call and result, one line, nothing."""

SandboxLevel = Literal["auto", "bubblewrap", "landlock", "unsafe-none"]


@dataclass(frozen=True, slots=True)
class Settings:
    """One invocation's settings; None leaves a choice to the model or the library.

    ``model`` is a GGUF file, ``bundled``, or ``script:FILE`` (see ``script``). ``tools`` holds keys of TOOLS;
    None offers those of UNASKED that work here. ``docs`` is a folder to search, ``files`` come with the first
    question. ``mcp`` are files that name MCP servers; ``approve``, ``ask`` and ``deny`` patterns of calls that need
    no asking, that do need it, and that never run; ``safety`` a policy's name or file, ``python`` the interpreter
    that the model's code runs in. ``context`` is in tokens; ``parallel`` conversations are decoded at once; an
    ``isolated`` model runs in a process of its own. ``session`` is gone on with or begun; without ``journal``
    nothing is kept. ``show_tools`` says how much of calls is shown; ``quiet`` hides them and notices.
    """

    model: str = BUNDLED
    instructions: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_steps: int | None = None
    max_tokens: int | None = None
    context: int | None = None
    parallel: int = 1
    isolated: bool = False
    dialect: str | None = None
    tools: tuple[str, ...] | None = None
    docs: Path | None = None
    files: tuple[Path, ...] = ()
    mcp: tuple[Path, ...] = ()
    approve: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    safety: str = "default"
    safe_search: "SafeSearch | None" = None
    freshness: "Freshness | None" = None
    sandbox: SandboxLevel = "auto"
    python: str | None = None
    session: str | None = None
    journal: bool = True
    json: bool = False
    plain: bool = False
    show_tools: ShowTools = "full"
    quiet: bool = False
    debug: bool = False


def data_folder() -> Path:
    """Where results are kept: ``$ARRIERO_HOME``, else the platform's folder for a user's data."""
    home = os.environ.get("ARRIERO_HOME")
    if home:
        return Path(home).expanduser()
    from platformdirs import user_data_path

    return user_data_path("arriero", appauthor=False)


def state_folder() -> Path:
    """Where the history of the prompt is kept: ``$ARRIERO_HOME``, else the platform's folder for state."""
    home = os.environ.get("ARRIERO_HOME")
    if home:
        return Path(home).expanduser()
    from platformdirs import user_state_path

    return user_state_path("arriero", appauthor=False)
