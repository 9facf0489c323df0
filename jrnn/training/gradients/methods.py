"""Methods that compute the gradient of a loss over a sequence.

A method rewrites a layer into one with the same outputs and another gradient, and sets
the window in which gradients flow. `value_and_grad` and `train_along` do the rest.
"""

from typing import Any, Protocol

from jrnn import checks, options
from jrnn.training.gradients.cuts import RandomCut
from jrnn.training.gradients.rewrite import change_cells, require_causal
from jrnn.types import Layer, Params
from jrnn.values import value


class Method(Protocol):
    """A method that computes the gradient of a loss over a sequence.

    Example:
      >>> from jrnn.training import TBPTT
      >>> TBPTT(5, 20).window
      (5, 20)
    """

    @property
    def window(self) -> tuple[int, int] | None:
        """The stride and the length of a window; None for the whole sequence."""

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Returns a layer whose gradient within a window is that of the method."""


def check_method(method: Any, examples: str) -> None:
    """Raises unless `method` is a gradient method, not its name or its class."""
    if isinstance(method, type) or not hasattr(method, "rewrite"):
        raise TypeError(
            f"method must be a gradient method, such as {examples}, got {method!r}."
        )


@value
class BPTT:
    """Backpropagation through time: the exact gradient. Memory grows with time.

    Example:
      >>> from jrnn.training import BPTT
      >>> BPTT().window is None  # the whole sequence
      True
    """

    @property
    def window(self) -> None:
        return None

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Returns the layer unchanged."""
        del params, key
        return layer


@value
class TBPTT:
    """Truncated backpropagation through time: every `k1` steps, `k2` steps back [1].

    The gradient is biased toward recent steps. It is exact if `k1` covers the whole
    sequence. If `k2` is larger than `k1`, windows overlap: each step is computed
    k2 / k1 times, and each loss reaches back between k2 - k1 + 1 and k2 steps.

    Attributes:
      k1: The number of steps from one window to the next. In `train_along`, there is
        one update every `k1` steps.
      k2: The number of steps that gradients flow back; None for `k1`.

    Example:
      >>> from jrnn.training import TBPTT
      >>> TBPTT(k1=35).window, TBPTT(k1=5, k2=40).window
      ((35, 35), (5, 40))

    References:
      [1] Williams and Peng, 1990, https://doi.org/10.1162/neco.1990.2.4.490
    """

    k1: int
    k2: int | None = None

    def __post_init__(self) -> None:
        options.check(self)
        checks.at_least("k2", self.window[1], self.k1)

    @property
    def window(self) -> tuple[int, int]:
        return self.k1, self.k1 if self.k2 is None else self.k2

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Returns the layer unchanged, if the sequence can be split in time."""
        del params, key
        require_causal(layer, self)
        return layer


@value
class ARTBP:
    """Anticipated reweighted truncated backpropagation: random and unbiased [1].

        lambda_t = dL_t/dh_t + (0 if cut else 1 / (1 - p)) (dh_t+1/dh_t)^T lambda_t+1

    Each example is cut between two steps with probability p, independently. Gradients
    that pass are scaled up, so the expected gradient is exact; the variance grows with
    p. A key is required. In a compiled loop, memory use is that of `BPTT`.

    Attributes:
      probability: p, in [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> from jrnn.training import ARTBP, squared_error, value_and_grad
      >>> cell = jrnn.Elman(4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> gradient = value_and_grad(cell, squared_error, ARTBP(0.1))
      >>> xs, targets = jnp.ones((2, 5, 3)), jnp.ones((2, 5, 4))
      >>> (value, state), grads = gradient(
      ...     params, None, xs, targets, key=jax.random.key(1)
      ... )
      >>> grads.w_h.shape
      (4, 4)

    References:
      [1] Tallec and Ollivier, 2017, https://arxiv.org/abs/1705.08209
    """

    probability: float

    def __post_init__(self) -> None:
        checks.probability("probability", self.probability)

    @property
    def window(self) -> None:
        return None

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Adds a random cut before every step of every recurrent cell."""
        del params
        if key is None:
            raise ValueError(f"{self} needs a key to draw random cuts: pass `key=`.")
        require_causal(layer, self)
        return change_cells(layer, lambda cell: RandomCut(cell, self.probability))
