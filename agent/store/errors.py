"""What can go wrong with models on disk."""

from ..backends.base import ModelError


class StoreError(ModelError):
    """A model cannot be found, fetched or kept; the message says what to do next."""
