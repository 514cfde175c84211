"""The root of every error that arriero raises on purpose.

ArrieroError
├── PromptError          a conversation cannot be written in the chosen dialect
│   └── UnknownDialect   no dialect of that name
├── ToolError            (arriero.tools) a call could not be served
├── SandboxUnavailable   (arriero.tools) no level of the sandbox can be had here
├── ModelError           (arriero.agent) a model cannot be loaded or has failed
└── ConfigError          (arriero.agent) a setting is wrong
"""


class ArrieroError(Exception):
    """Root of all errors of this package; the message says what to do next."""


class PromptError(ArrieroError):
    """A conversation cannot be written in the chosen dialect."""


class UnknownDialect(PromptError):
    """No dialect has the given name."""
