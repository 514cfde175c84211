"""The weights of guards that a policy names: loaded as any other model is."""

from arriero.safety.llama_guard.model import GuardModel
from arriero.safety.pipeline import Pipeline
from arriero.safety.policy import LLAMA_GUARD, Policy

_CONVERSATIONS = 2  # one beginning each for users' and for agents' turns is kept in memory


def load_guard(name: str) -> GuardModel:
    """The guard of that name: a GGUF file, the address of a server, or a model that was pulled.

    Raises ModelError.
    """
    from .store import open_model

    return open_model(name, n_parallel=_CONVERSATIONS)


def pipeline(policy: Policy | str) -> Pipeline:
    """The screens of a policy, of a preset, or of a TOML file. Raises PolicyError."""
    return Pipeline(with_models(policy if isinstance(policy, Policy) else Policy.named(policy)))


def with_models(policy: Policy) -> Policy:
    """The policy with a way to load the weights that its settings name."""
    settings = policy.settings.get(LLAMA_GUARD)
    if settings is None or "load" in settings:
        return policy
    return policy.model_copy(
        update={"settings": {**policy.settings, LLAMA_GUARD: {**settings, "load": load_guard}}}
    )
