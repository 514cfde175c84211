"""The weights of guards that a policy names: loaded as any other model is."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arriero.safety.pipeline import Pipeline
from arriero.safety.policy import LLAMA_GUARD, PROMPT_GUARD, Policy

if TYPE_CHECKING:
    from arriero.safety.llama_guard.model import GuardModel

_CONVERSATIONS = 2  # one beginning each for users' and for agents' turns is kept in memory


def load_guard(name: str) -> "GuardModel":
    """The guard of that name: a GGUF file, the address of a server, or a model that was pulled.

    Raises ModelError.
    """
    from .store import open_model

    return open_model(name, n_parallel=_CONVERSATIONS)


def classifier_folder(name: str) -> Path:
    """The folder of that name: one here, or a classifier that was pulled. Raises StoreError."""
    from .store.opening import model_path

    return model_path(name)


def pipeline(policy: Policy | str) -> Pipeline:
    """The screens of a policy, of a preset, or of a TOML file. Raises PolicyError."""
    return Pipeline(with_models(policy if isinstance(policy, Policy) else Policy.named(policy)))


_LOADS: Final[dict[str, Callable[[str], Any]]] = {LLAMA_GUARD: load_guard, PROMPT_GUARD: classifier_folder}
"""How each guard gets what its settings name."""


def with_models(policy: Policy) -> Policy:
    """The policy with a way to load the weights that its settings name."""
    loads = {
        screen: {"load": _LOADS[screen], **table}
        for screen, table in policy.settings.items()
        if screen in _LOADS
    }
    return policy.model_copy(update={"settings": {**policy.settings, **loads}}) if loads else policy
