"""The root of every error that arriero raises on purpose.

ArrieroError
├── PromptError          a conversation cannot be written in the chosen dialect
│   └── UnknownDialect   no dialect of that name
├── ToolError            (arriero.tools) a call could not be served; the model is told
│   ├── ModelRetry           the model should call again, with a hint
│   └── HttpError            a service failed, refused, or answered nonsense
├── PolicyError          (arriero.safety) a policy cannot be read or contradicts itself
├── ScreenError          (arriero.safety) a screen cannot be had or could not judge
├── ToolDefinitionError  (arriero.tools) a function cannot be made a tool
├── SandboxUnavailable   (arriero.tools) no level of the sandbox can be had here
├── ModelError           (arriero.agent) a model cannot be loaded or has failed
│   ├── ContextOverflow      the prompt does not fit the context
│   └── StoreError           a model cannot be found, fetched or kept on this machine
├── TaskError            (arriero.agent) a task file cannot be read, or a task cannot be run
├── RunCancelled         (arriero.agent) raised inside a run that was told to stop
└── ConfigError          (arriero.agent) an agent was put together in a way that cannot work
"""


class ArrieroError(Exception):
    """Root of all errors of this package; the message says what to do next."""


class PromptError(ArrieroError):
    """A conversation cannot be written in the chosen dialect."""


class UnknownDialect(PromptError):
    """No dialect has the given name."""
