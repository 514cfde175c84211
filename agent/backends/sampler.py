"""How one request chooses its tokens."""

import ctypes
import random
from typing import TYPE_CHECKING, Any, Protocol

from .base import ModelError, Sampling

if TYPE_CHECKING:
    from .context import Context
    from .grammar.guide import Guide

# Tokens a billion times less likely than the best one hold at most 0.013 % of Llama 3's probability together.
# Without them the filters that follow need not sort 128,256 candidates (measured: 0.27 ms against 3.1 ms).
_HOPELESS = 1e-9
_MOST_REFUSALS = 32  # after that prose goes on as it likes; the parser sees what came of it
_MAX_SEED = 2**32 - 2  # llama.h: LLAMA_DEFAULT_SEED, all ones, means "draw one"


class Sampler(Protocol):
    """Chooses the next token of one request from the logits of one row; it may keep state between tokens."""

    def sample(self, context: "Context", row: int) -> int:
        """Choose, and take note of, a token for row ``row`` of the last batch of a context."""
        ...

    def sample_from(self, context: "Context", row: int, ids: Any) -> int:
        """The same among the tokens of a numpy vector only."""
        ...

    def close(self) -> None:
        """Free what the sampler holds."""
        ...


def make_sampler(lib: Any, sampling: Sampling) -> Sampler:
    """The sampler for these settings; temperature 0 (or less, or no number) takes the likeliest token."""
    if sampling.temperature > 0:
        return ChainSampler(lib, sampling)
    return GreedySampler()


class GreedySampler:
    """The likeliest token, the first of equals; straight from the logits.

    llama.cpp's own builds a list of 128,256 candidates first (measured: 0.29 ms a token against 0.03 ms).
    """

    def sample(self, context: "Context", row: int) -> int:
        return int(context.logits(row).argmax())

    def sample_from(self, context: "Context", row: int, ids: Any) -> int:
        return int(ids[context.logits(row)[ids].argmax()])

    def close(self) -> None:
        """Nothing is held."""


class ChainSampler:
    """llama.cpp's own samplers: temperature, then top-k, top-p and min-p, then one draw.

    Temperature comes first as in Meta's reference, for which the default values were published. ``top_k`` 0,
    ``top_p`` 1 and ``min_p`` 0 are off.
    """

    def __init__(self, lib: Any, sampling: Sampling) -> None:
        self._lib = lib
        params = lib.llama_sampler_chain_default_params()
        params.no_perf = True
        self._chain = lib.llama_sampler_chain_init(params)
        for link in self._links(sampling):
            lib.llama_sampler_chain_add(self._chain, link)

    def _links(self, sampling: Sampling) -> list[Any]:
        lib = self._lib
        links = [lib.llama_sampler_init_temp(sampling.temperature)]
        if sampling.top_k > 0:
            links.append(lib.llama_sampler_init_top_k(min(sampling.top_k, 2**31 - 1)))
        else:
            links.append(lib.llama_sampler_init_min_p(_HOPELESS, 1))
        if sampling.top_p < 1:
            links.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0:
            links.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
        seed = (
            random.SystemRandom().randrange(_MAX_SEED) if sampling.seed is None else sampling.seed % _MAX_SEED
        )
        links.append(lib.llama_sampler_init_dist(seed))
        return links

    def sample(self, context: "Context", row: int) -> int:
        token: int = self._lib.llama_sampler_sample(self._chain, context.pointer, row)
        return token

    def sample_from(self, context: "Context", row: int, ids: Any) -> int:
        import numpy as np

        # The layout of llama_token_data: id, logit, probability.
        choice = np.zeros(len(ids), dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        choice["id"], choice["logit"] = ids, context.logits(row)[ids]
        data = choice.ctypes.data_as(ctypes.POINTER(self._lib.llama_token_data))
        array = self._lib.llama_token_data_array(data, len(ids), -1, False)
        self._lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def close(self) -> None:
        chain, self._chain = self._chain, None
        if chain:
            self._lib.llama_sampler_free(chain)


class GuidedSampler:
    """Another sampler held to a guide: its choice stands where the guide accepts it, else it chooses again among
    the tokens that are allowed.

    So the whole vocabulary is looked at only after a refusal. Raises ModelError where nothing is allowed.
    """

    def __init__(self, sampler: Sampler, guide: "Guide", vocab_size: int) -> None:
        self._sampler = sampler
        self._guide = guide
        self._size = vocab_size

    def sample(self, context: "Context", row: int) -> int:
        try:
            token = self._sampler.sample(context, row)
            if not self._guide.accepts(token):
                token = self._again(context, row, token)
            self._guide.take(token)
        except ModelError:
            raise
        except Exception as error:  # one request's constraint must not end the others
            raise ModelError(f"the constraint cannot be held to: {error!r}") from error
        return token

    def sample_from(self, context: "Context", row: int, ids: Any) -> int:
        return self._sampler.sample_from(context, row, ids)

    def close(self) -> None:
        self._sampler.close()

    def _again(self, context: "Context", row: int, token: int) -> int:
        import numpy as np

        if self._guide.engage():
            return self._sampler.sample_from(context, row, self._guide.allowed())
        left = np.ones(self._size, dtype=np.bool_)
        for _ in range(_MOST_REFUSALS):
            left[self._guide.refused(token)] = False
            token = self._sampler.sample_from(context, row, np.flatnonzero(left))
            if self._guide.accepts(token):
                break
        return token
