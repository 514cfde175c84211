"""Reads which MCP servers there are, from JSON of the shape that other programs use too.

{"mcpServers": {"files": {"command": "npx", "args": ["-y", "…"], "env": {"TOKEN": "${TOKEN}"}},
                "shop": {"url": "https://shop.example/mcp", "headers": {"Authorization": "Bearer ${KEY}"}}}}
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from arriero.prompts.errors import ArrieroError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class MCPConfigError(ArrieroError):
    """The configuration of MCP servers cannot be used; the message says which part and why."""


Approval = Literal["never", "writes", "always"]
"""Which calls a person must agree to: none, those of tools that do not say that they only read, or all."""


class _Server(BaseModel):
    # Other programs keep keys of their own in the same file.
    model_config = ConfigDict(frozen=True, extra="ignore")

    disabled: bool = False
    start_timeout: Annotated[float, Field(gt=0)] = 30.0
    timeout: Annotated[float, Field(gt=0)] | None = None
    approval: Approval | None = None
    allowed: tuple[str, ...] = Field((), validation_alias=AliasChoices("autoApprove", "alwaysAllow"))

    def approval_of(self, tool: str, default: Approval) -> Approval:
        """Which calls of one of its tools need approval; ``allowed`` lists tools whose calls never do."""
        return "never" if tool in self.allowed else self.approval or default


class StdioServer(_Server):
    """A program that speaks MCP on its standard input and output.

    It sees ``env`` and PATH, HOME and LANG, nothing else of the environment; ``cwd`` defaults to the current
    folder. ``start_timeout`` and ``timeout`` (one call; None: 60, or the run's limit) are in seconds.
    """

    type: Literal["stdio"] = "stdio"
    command: Annotated[str, Field(min_length=1)]
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None


class HttpServer(_Server):
    """A server of MCP's streamable HTTP; ``headers`` go with every request, to its own origin only.

    ``start_timeout`` and ``timeout`` (one call; None: 60, or the run's limit) are in seconds.
    """

    type: Literal["http", "streamable-http", "streamable_http", "streamableHttp"] = "http"
    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")]
    headers: dict[str, str] = {}


Server = StdioServer | HttpServer
_STDIO: TypeAdapter[StdioServer] = TypeAdapter(StdioServer)
_HTTP: TypeAdapter[HttpServer] = TypeAdapter(HttpServer)


def read_config(source: str | Path | Mapping[str, Any]) -> dict[str, Server]:
    """The servers of a file, or of what such a file holds, by name and without those that are ``disabled``.

    ``${NAME}`` and ``${NAME:-default}`` in strings stand for variables of the environment. Raises
    MCPConfigError.
    """
    if isinstance(source, Mapping):
        return _servers(source, "the configuration of MCP servers")
    path = Path(source)
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MCPConfigError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise MCPConfigError(f"{path} is not JSON: {error}") from None
    return _servers(data, str(path))


def _servers(data: Any, where: str) -> dict[str, Server]:
    found = data.get("mcpServers") if isinstance(data, Mapping) else None
    if not isinstance(found, Mapping):
        raise MCPConfigError(f'{where} must hold {{"mcpServers": {{NAME: {{…}}}}}}')
    servers = {str(name): _server(str(name), entry, where) for name, entry in found.items()}
    return {name: server for name, server in servers.items() if not server.disabled}


def _server(name: str, entry: Any, where: str) -> Server:
    place = f"{where}: server {name!r}"
    if not isinstance(entry, Mapping) or ("command" in entry) == ("url" in entry):
        raise MCPConfigError(f'{place} needs either "command" or "url"')
    if entry.get("disabled") is not True:
        entry = _expanded(entry, place)
    try:
        return (_STDIO if "command" in entry else _HTTP).validate_python(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise MCPConfigError(f"{place}: {path}: {first['msg']}") from None


def _expanded(value: Any, place: str) -> Any:
    def variable(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise MCPConfigError(f"{place}: the environment variable {match[1]} is not set")
        return found

    match value:
        case str():
            return _VARIABLE.sub(variable, value)
        case Mapping():
            return {key: _expanded(item, place) for key, item in value.items()}
        case list():
            return [_expanded(item, place) for item in value]
    return value
