"""Online methods: they carry derivatives forward in time and store no sequence."""

from typing import Any

import jax

from jrnn import options
from jrnn.forms import Gated
from jrnn.layers import Recurrent, Sequential
from jrnn.training.gradients.dense import Sensitive
from jrnn.training.gradients.rewrite import change_cells, require_causal
from jrnn.training.gradients.traces import Traced, TracedState
from jrnn.types import Cell, Layer, Params
from jrnn.values import value


@value
class RTRL:
    """Real-time recurrent learning: the exact gradient, carried forward in time [1].

    Memory does not grow with time. If the structure of the only recurrent cell is not
    dense, and no layer before it has parameters, each example needs as much memory as
    the parameters. Any other causal layer must be small: it carries the full
    sensitivity, the derivative of the state with respect to the parameters.

    Attributes:
      every: In `train_along`, the number of steps per update. The gradient does not
        depend on it.
      limit: The largest number of elements of one example's full sensitivity.

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

    def __post_init__(self) -> None:
        options.check(self)

    @property
    def window(self) -> tuple[int, int]:
        return self.every, self.every

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Makes the layer carry its sensitivity, per unit if that is exact."""
        _refuse_noise(self, key)
        require_causal(layer, self)
        if _is_one_structured_recurrence(layer, params):
            return change_cells(layer, lambda cell: Traced(cell, "all"))
        return Sensitive(layer, self.limit)


@value
class SnAp1:
    """Sparse approximation of RTRL: the effect of a parameter on its own unit [1].

    Equal to RTRL for one recurrent layer that is not dense. For a dense layer, it
    leaves out paths through other units. Each example needs as much memory as the
    parameters. In a stack of recurrent layers, the gradient of a lower layer includes
    only paths that reach the layers above it in the same step as the loss. The form of
    every cell is `local`, and `jrnn.forms.Gated` or not dense.

    Attributes:
      every: In `train_along`, the number of steps per update. The gradient does not
        depend on it.

    Example:
      >>> from jrnn.training import SnAp1
      >>> SnAp1(every=10)
      SnAp1(every=10)

    References:
      [1] Menick et al., 2020, https://arxiv.org/abs/2006.07232
    """

    every: int = 1

    def __post_init__(self) -> None:
        options.check(self)

    @property
    def window(self) -> tuple[int, int]:
        return self.every, self.every

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Makes every recurrent cell carry traces of its parameters."""
        return _traced(self, layer, params, key, "self")


@value
class EProp:
    """Eligibility propagation: the path through a unit's own memory alone [1].

    The recurrent matmul of a dense cell is treated as an external input. For an LSTM,
    the path through the memory cell and its forget gate remains. For an Elman network,
    only the current step remains. The learning signal is the derivative of the loss of
    the same step. Cost and supported cells are those of `SnAp1`, which also includes
    the connection of each unit to itself.

    Attributes:
      every: In `train_along`, the number of steps per update. The gradient does not
        depend on it.

    Example:
      >>> from jrnn.training import EProp
      >>> EProp()
      EProp()

    References:
      [1] Bellec et al., 2020, https://doi.org/10.1038/s41467-020-17236-y
    """

    every: int = 1

    def __post_init__(self) -> None:
        options.check(self)

    @property
    def window(self) -> tuple[int, int]:
        return self.every, self.every

    def rewrite(self, layer: Layer, params: Params, key: Any) -> Layer:
        """Makes every recurrent cell carry eligibility traces."""
        return _traced(self, layer, params, key, "none")


def _traced(method: Any, layer: Any, params: Params, key: Any, what: str) -> Layer:
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
            f"{method} supports state in `jrnn.Recurrent` layers only, but another "
            f"layer of {layer} has a state. Use `RTRL()` or `TBPTT(k)`."
        )
    return traced


def _require_units(method: Any, cell: Cell) -> None:
    form = cell.form
    by_unit = isinstance(form, Gated) or form.structure != "dense"
    if not by_unit or not form.local or cell.feature_axes != 1:
        raise ValueError(
            f"{method} needs a cell on vectors in which each parameter affects only "
            "one unit within a step: its form must be `local`, and a "
            f"`jrnn.forms.Gated` or not dense. This does not hold for {cell}. Use "
            "`RTRL()` or `TBPTT(k)`."
        )


def _refuse_noise(method: Any, key: Any) -> None:
    if key is not None:
        raise ValueError(
            f"{method} carries derivatives across steps, so the parameters must stay "
            "the same. It cannot draw noise that is fixed for a whole sequence. Do "
            "not pass `key`, or use `TBPTT(k)`."
        )


def _is_one_structured_recurrence(layer: Any, params: Params) -> bool:
    """Whether each parameter reaches one unit of the only recurrent state."""
    if isinstance(layer, Recurrent):
        form, axes = layer.cell.form, layer.cell.feature_axes
        return form.structure != "dense" and form.local and axes == 1
    if not isinstance(layer, Sequential):
        return False
    states = jax.eval_shape(layer.initial_state, params)
    stateful = [i for i, state in enumerate(states) if jax.tree.leaves(state)]
    if len(stateful) != 1 or jax.tree.leaves(params[: stateful[0]]):
        return False
    index = stateful[0]
    return _is_one_structured_recurrence(layer.layers[index], params[index])
