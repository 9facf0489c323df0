"""Ways to get the gradient of a loss over a sequence, as plain values.

Each is a layer that computes what the model computes, and a window in which gradients
flow backwards. `value_and_grad` and `train_along` do the rest.
"""

from typing import Any, Protocol

import jax

from jrnn import checks
from jrnn.layers import Recurrent, Sequential
from jrnn.training.gradients.cuts import RandomCut
from jrnn.training.gradients.dense import Sensitive
from jrnn.training.gradients.rewrite import change_cells, require_causal
from jrnn.training.gradients.traces import Traced, TracedState
from jrnn.types import Cell, GatedCell, Layer, Params, value


class Method(Protocol):
    """A gradient of the loss over a sequence."""

    @property
    def window(self) -> tuple[int, int] | None:
        """Steps from window to window and steps in one; None for the whole sequence."""

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Returns the layer whose gradient within windows is that of the method."""


@value
class BPTT:
    """Backpropagation through time: the exact gradient; memory grows with the time.

    Example:
      >>> from jrnn.training import BPTT
      >>> BPTT().window is None  # the whole sequence
      True
    """

    @property
    def window(self) -> None:
        return None

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Returns the layer as it is."""
        del params, key
        return layer


@value
class TBPTT:
    """Truncated backpropagation through time: every `k1` steps, `k2` steps back [1].

    Biased towards what happened lately; exact where `k1` is the whole sequence. With
    `k2` above `k1` windows overlap: steps are computed again, k2 / k1 times in all, and
    each loss reaches back between k2 - k1 + 1 and k2 steps.

    Attributes:
      k1: Steps from one window to the next, and of an update in `train_along`.
      k2: Steps that gradients go back; None for `k1`.

    Example:
      >>> from jrnn.training import TBPTT
      >>> TBPTT(k1=35).window, TBPTT(k1=5, k2=40).window
      ((35, 35), (5, 40))

    References:
      [1] Williams and Peng, 1990, https://doi.org/10.1162/neco.1990.2.4.490
    """

    k1: int
    k2: int | None = None

    @property
    def window(self) -> tuple[int, int]:
        return self.k1, self.k1 if self.k2 is None else self.k2

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Returns the layer as it is, if time can be cut."""
        del params, key
        checks.at_least("k1", self.k1, 1)
        checks.at_least("k2", self.window[1], self.k1)
        require_causal(layer, self)
        return layer


@value
class ARTBP:
    """Randomised truncation without bias [1].

        lambda_t = dL_t/dh_t + (0 if cut else 1 / (1 - p)) (dh_t+1/dh_t)^T lambda_t+1

    Each example is cut between two steps with probability p, on its own. What passes is
    scaled up, so that the mean over cuts is the exact gradient; the price is variance,
    which grows with p. Needs a key. In a compiled loop memory is that of `BPTT`.

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

    @property
    def window(self) -> None:
        return None

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Puts a random cut before every step of every recurrent cell."""
        del params
        checks.probability("probability", self.probability)
        if key is None:
            raise ValueError(f"{self} draws its cuts: pass `key=`.")
        require_causal(layer, self)
        return change_cells(layer, lambda cell: RandomCut(cell, self.probability))


@value
class RTRL:
    """Real-time recurrent learning: the exact gradient, carried forwards in time [1].

    Memory does not grow with the time. For one recurrent layer of a cell whose
    structure is not dense, with no parameters before it, it costs what the parameters
    cost; any other causal layer carries its whole sensitivity and must be small.

    Attributes:
      every: Steps of an update in `train_along`; the gradient does not depend on it.
      limit: How many numbers one example's sensitivity may have.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> from jrnn.training import RTRL, squared_error, value_and_grad
      >>> cell = jrnn.IndRNN(4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> gradient = value_and_grad(cell, squared_error, RTRL())
      >>> xs, targets = jnp.ones((2, 5, 3)), jnp.ones((2, 5, 4))
      >>> (value, state), grads = gradient(params, None, xs, targets)
      >>> state.traces[0].w_x.shape  # [batch, *shape of the parameter]
      (2, 3, 4)

    References:
      [1] Williams and Zipser, 1989, https://doi.org/10.1162/neco.1989.1.2.270
    """

    every: int = 1
    limit: int = 10**7

    @property
    def window(self) -> tuple[int, int]:
        return self.every, self.every

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Makes the layer carry its sensitivity, unit by unit where that is exact."""
        checks.at_least("every", self.every, 1)
        _refuse_noise(self, key)
        require_causal(layer, self)
        if _is_one_structured_recurrence(layer, params):
            return change_cells(layer, lambda cell: Traced(cell, "all"))
        return Sensitive(layer, self.limit)


@value
class SnAp1:
    """Sparse approximation of RTRL: what a parameter does to its own unit [1].

    Equal to RTRL for one recurrent layer that is not dense; for others it leaves out
    detours through other units. Costs what the parameters cost. In a stack, lower
    layers hear of a loss within its own step only. Takes cells that are gated
    (`jrnn.GatedCell`) or not dense.

    Attributes:
      every: Steps of an update in `train_along`; the gradient does not depend on it.

    Example:
      >>> from jrnn.training import SnAp1
      >>> SnAp1(every=10)
      SnAp1(every=10)

    References:
      [1] Menick et al., 2020, https://arxiv.org/abs/2006.07232
    """

    every: int = 1

    @property
    def window(self) -> tuple[int, int]:
        return self.every, self.every

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Makes every recurrent cell carry traces."""
        return _traced(self, layer, params, key, "self")


@value
class EProp:
    """Eligibility propagation: the paths of a unit's own state, no recurrent ones [1].

    The recurrent product counts as an input from outside: for an LSTM what is left is
    the memory and its forget gate, and for an Elman network the present step alone.
    The learning signal is the derivative of the step's own loss. Costs and cells are
    those of `SnAp1`, which also counts each unit's connection to itself.

    Attributes:
      every: Steps of an update in `train_along`; the gradient does not depend on it.

    Example:
      >>> from jrnn.training import EProp
      >>> EProp()
      EProp()

    References:
      [1] Bellec et al., 2020, https://doi.org/10.1038/s41467-020-17236-y
    """

    every: int = 1

    @property
    def window(self) -> tuple[int, int]:
        return self.every, self.every

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Makes every recurrent cell carry eligibility traces."""
        return _traced(self, layer, params, key, "none")


def _traced(method: Any, layer: Any, params: Params, key: Any, what: str) -> Layer:
    checks.at_least("every", method.every, 1)
    _refuse_noise(method, key)
    require_causal(layer, method)

    def trace(cell: Cell) -> Cell:
        _require_units(method, cell)
        return Traced(cell, "all" if cell.structure != "dense" else what)

    traced = change_cells(layer, trace)
    states = jax.eval_shape(traced.initial_state, params)
    leaves = jax.tree.leaves(states, is_leaf=lambda s: isinstance(s, TracedState))
    if not all(isinstance(leaf, TracedState) for leaf in leaves):
        raise ValueError(
            f"{method} carries traces with the cells of `jrnn.Recurrent` layers, but "
            f"another layer of {layer} has a state. Use `RTRL()` or `TBPTT(k)`."
        )
    return traced


def _require_units(method: Any, cell: Cell) -> None:
    gated = isinstance(cell, GatedCell) or cell.structure != "dense"
    if not gated or cell.feature_axes != 1:
        raise ValueError(
            f"{method} needs a cell in which each parameter reaches one unit within a "
            "step: one on vectors that is a `jrnn.GatedCell` or whose `structure` is "
            f"not dense. {cell} is neither. Use `RTRL()` or `TBPTT(k)`."
        )


def _refuse_noise(method: Any, key: Any) -> None:
    if key is not None:
        raise ValueError(
            f"{method} carries derivatives across steps, for parameters that stay the "
            "same: a mask that holds for a sequence cannot be drawn anew at every "
            "step. Leave `key` out, or use `TBPTT(k)`."
        )


def _is_one_structured_recurrence(layer: Any, params: Params) -> bool:
    """Whether each parameter reaches one unit of the only state there is."""
    if isinstance(layer, Recurrent):
        return layer.cell.structure != "dense" and layer.cell.feature_axes == 1
    if not isinstance(layer, Sequential):
        return False
    states = jax.eval_shape(layer.initial_state, params)
    stateful = [i for i, state in enumerate(states) if jax.tree.leaves(state)]
    if len(stateful) != 1 or jax.tree.leaves(params[: stateful[0]]):
        return False
    index = stateful[0]
    return _is_one_structured_recurrence(layer.layers[index], params[index])
