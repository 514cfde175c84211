"""Makes the tools that the settings ask for, and says what the others need."""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from arriero.tools import Tool, ToolError

from .exits import NotReady
from .settings import TOOLS, UNASKED, Settings

if TYPE_CHECKING:
    from arriero.tools.mcp import MCPToolset

_KERNELS: Final = 2  # at about 100 MB each; one person talks in one conversation at a time


class Toolbox:
    """Makes tools, and notes what is to be said of them.

    ``notices`` are lines that the user should see; ``hints`` say how to have more, and once is enough.
    ``sandbox_line`` says what Python runs in, ``doing`` what takes time just now; ``toolsets`` are the MCP servers
    that were started, for whoever closes them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.notices: list[str] = []
        self.hints: list[str] = []
        self.sandbox_line = ""
        self.doing = ""
        self.toolsets: list[MCPToolset] = []

    def make(self, name: str) -> tuple[Tool | None, str]:
        """The tool of that name, a key of TOOLS; or None, and what to do to have it. Raises NotReady."""
        return _MAKERS[name](self)

    def make_all(self) -> dict[str, Tool]:
        """The tools of the settings, by the names that people have for them. Raises NotReady."""
        asked = self.settings.tools
        made: dict[str, Tool] = {}
        docs = ("documents",) if self.settings.docs else ()
        for name in dict.fromkeys((*(UNASKED if asked is None else asked), *docs)):
            tool, why_not = self.make(name)
            if tool is not None:
                made[name] = tool
            elif asked is not None:
                raise NotReady(why_not)
            elif name == "python":
                self.notices.append(why_not)
            else:
                self.hints.append(why_not)
        if "documents" in made:
            self._index(made["documents"])
        return made | self.start_servers()

    def start_servers(self) -> dict[str, Tool]:
        """Start the MCP servers of the settings; those that fail are in the notices. Raises NotReady."""
        if not self.settings.mcp:
            return {}
        from arriero.tools.mcp import MCPConfigError, load_mcp

        found: dict[str, Tool] = {}
        self.doing = "starting MCP servers"
        for file in self.settings.mcp:
            taken = {*TOOLS, *TOOLS.values(), *found}
            try:
                toolset = asyncio.run(load_mcp(file, taken=taken, approval="writes"))
            except MCPConfigError as error:
                raise NotReady(str(error)) from error
            self.toolsets.append(toolset)
            found |= {tool.name: tool for tool in toolset.tools}
            self.notices += [
                f"no tools of the MCP server {name}: {why}" for name, why in toolset.failures.items()
            ]
        self.doing = ""
        return found

    def _index(self, documents: Tool) -> None:
        """Bring the index of the documents up to date, so that the first search need not."""
        from arriero.tools.documents import DocumentSearch, IndexProgress

        assert isinstance(documents, DocumentSearch)

        def show(progress: IndexProgress) -> None:
            self.doing = f"indexing documents  {progress.done:,}/{progress.total:,}  {progress.path}"

        self.doing = "looking for changed documents"
        report = documents.refresh(show)
        self.doing = ""
        if report.unreadable:
            path, why = report.problems[0]
            self.notices.append(
                f"documents that cannot be searched: {report.unreadable}, such as {path} ({why})"
            )

    def _make_python(self) -> tuple[Tool | None, str]:
        from arriero.tools.python import PythonTool, Sandbox

        report = Sandbox.probe(self.settings.sandbox, self.settings.python)
        self.sandbox_line = report.line
        if report.level is None and self.settings.python is not None:
            raise NotReady(report.line)
        if report.level is None:
            return None, report.line
        if report.level == "unsafe-none":
            # On every start, whatever is quiet: nobody should have to remember that it is off.
            sys.stderr.write(f"WARNING: {report.line}\n")
        elif report.reason:
            self.hints.append(report.line)
        level, python = self.settings.sandbox, self.settings.python
        return PythonTool(level=level, python=python, spare=False, kernels=_KERNELS), ""

    def _make_search(self) -> tuple[Tool | None, str]:
        from arriero.tools.search import PROVIDER_VARIABLE, from_env, help_for, options_from_env

        named = os.environ.get(PROVIDER_VARIABLE, "").strip()
        asked = {
            name: value
            for name in ("safe_search", "freshness")
            if (value := getattr(self.settings, name)) is not None
        }
        try:
            return from_env(options=replace(options_from_env(), **asked)), help_for(named or None)
        except ToolError as error:
            raise NotReady(str(error)) from error

    def _make_wolfram(self) -> tuple[Tool | None, str]:
        from arriero.tools.wolfram import KEY_HELP, WolframAlpha

        try:
            return WolframAlpha.from_env(), KEY_HELP
        except ToolError as error:
            raise NotReady(str(error)) from error

    def _make_documents(self) -> tuple[Tool | None, str]:
        from arriero.tools.documents import DocumentSearch

        if self.settings.docs is None:
            return None, "name the folder of your documents with --docs DIR"
        try:
            return DocumentSearch(self.settings.docs), ""
        except ToolError as error:
            raise NotReady(str(error)) from error

    def _make_fetch(self) -> tuple[Tool | None, str]:
        from arriero.tools.fetch import FetchPage

        try:
            return FetchPage.from_env(), ""
        except ToolError as error:
            raise NotReady(str(error)) from error


_MAKERS: dict[str, Callable[[Toolbox], tuple[Tool | None, str]]] = {
    "python": Toolbox._make_python,
    "search": Toolbox._make_search,
    "wolfram": Toolbox._make_wolfram,
    "documents": Toolbox._make_documents,
    "fetch": Toolbox._make_fetch,
}
