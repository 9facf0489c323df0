"""Cells and layers of jrnn as linen modules, and linen modules as layers of jrnn."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.core import FrozenDict

from jrnn import checks, scanning
from jrnn.interop.common import modules
from jrnn.storage import named_arrays
from jrnn.types import (
    OVER_TIME,
    Array,
    Cell,
    DType,
    Layer,
    Params,
    PRNGKey,
    Shape,
    State,
)
from jrnn.values import value

Axes = tuple[str | None, ...]  # names of mesh axes, one for each axis of a leaf


class LinenCell(nn.RNNCellBase):
    """A jrnn cell as a linen cell, for `nn.RNN`, `nn.Bidirectional` and `nn.scan`.

    Use it in code that has its own loop. Otherwise `LinenLayer(jrnn.Recurrent(cell))`
    is better: it has masks and resets, it hoists the input matmul out of the loop, and
    its inputs can be sharded over explicit meshes.

    The cell draws noise from the stream "dropout" if it has one. `nn.RNN` passes the
    stream on only if it is in `split_rngs`: `{"params": False, "dropout": True}` for
    new noise at each step, `"dropout": False` for the same masks at all steps.

    Attributes:
      cell: The jrnn cell.
      param_dtype: The dtype of its parameters.
      partitioning: Names of mesh axes for the axes of parameters, by the name of the
        parameter: `{"w_h": (None, "model")}`. `nn.with_partitioning` boxes these
        parameters.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.flax import LinenCell
      >>> model = nn.RNN(LinenCell(jrnn.LSTM(4)))
      >>> variables = model.init(jax.random.key(0), jnp.ones((2, 5, 3)))
      >>> model.apply(variables, jnp.ones((2, 5, 3))).shape
      (2, 5, 4)
      >>> sorted(variables["params"]["cell"])
      ['b_x', 'w_h', 'w_x']
    """

    cell: Cell
    param_dtype: DType = float
    partitioning: Mapping[str, Axes] = FrozenDict()

    @nn.compact
    def __call__(self, state: State, x: Any) -> tuple[State, Array]:
        """Returns the state after one step, and the output."""
        params = _params(self, self.cell, modules.input_size(x))
        return scanning.step(self.cell, params, state, x, key=_noise(self))

    @nn.nowrap
    def initialize_carry(self, rng: PRNGKey, input_shape: Shape) -> State:
        """Returns the cell's initial state for inputs [*batch, features].

        A learned state comes from the module's parameters if it has them, and is drawn
        with `rng` otherwise.
        """
        batch = input_shape[: len(input_shape) - self.cell.feature_axes]
        stored = self.variables.get("params") if self.scope is not None else None
        if stored:
            like = modules.param_shapes(self.cell, input_shape[-1], self.param_dtype)
            params = named_arrays.unflatten(like, nn.meta.unbox(stored))
        else:
            params = self.cell.init(rng, input_shape[-1], self.param_dtype)
        return self.cell.initial_state(params, batch)

    @property
    def num_feature_axes(self) -> int:
        """The number of feature axes of an input."""
        return self.cell.feature_axes


class LinenLayer(nn.Module):
    """A jrnn layer or model as a linen module that runs jrnn's own scan.

    Each array is one parameter, named by its path in the layer: "w_h" for one cell,
    "0.w_h" in the first layer of a `Sequential`. `named_arrays.flatten` and
    `named_arrays.unflatten` convert between the layer's tree and these names. The layer
    draws noise from the stream "dropout"; without this stream it is in evaluation.

    Attributes:
      layer: The jrnn layer.
      param_dtype: The dtype of its parameters.
      partitioning: Names of mesh axes for the axes of parameters, by the name of the
        parameter: `{"w_h": (None, "model")}`. `nn.with_partitioning` boxes these
        parameters.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.flax import LinenLayer
      >>> model = nn.Sequential(
      ...     [nn.Embed(7, 3), LinenLayer(jrnn.Recurrent(jrnn.LSTM(4))), nn.Dense(7)]
      ... )
      >>> ids = jnp.zeros((2, 5), int)
      >>> variables = model.init(jax.random.key(0), ids)
      >>> model.apply(variables, ids).shape
      (2, 5, 7)
      >>> sorted(variables["params"]["layers_1"])
      ['b_x', 'w_h', 'w_x']
    """

    layer: Layer
    param_dtype: DType = float
    partitioning: Mapping[str, Axes] = FrozenDict()

    @nn.compact
    def __call__(
        self,
        xs: Any,
        *,
        state: State | None = None,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        return_state: bool = False,
    ) -> Any:
        """Applies the layer. The arguments are the same as for `jrnn.scan`.

        Returns:
          The outputs. With `return_state`, the state after the last step, and the
          outputs.
        """
        params = _params(self, self.layer, modules.input_size(xs))
        state, ys = self.layer.apply(
            params,
            state,
            xs,
            lengths=lengths,
            mask=mask,
            reset=reset,
            key=_noise(self),
        )
        return (state, ys) if return_state else ys


@value
class FromLinen:
    """A linen module as a jrnn layer without a state, for `jrnn.Sequential`.

    Padded inputs are zero for the module, and padded outputs are zero after it. The
    module draws from the stream "dropout" if `apply` has a key.

    Attributes:
      module: A linen module that has parameters only: no batch statistics, no cache.
      output_size: The number of features that it returns; None for that of its input.
      call: The function `(module, xs, *, mask, train) -> ys` that calls the module.
        `mask` contains which steps are valid, [*batch, time] or None for all, and
        `train` is whether the module is in training.
      over_time: How outputs depend on time, as in `jrnn.Layer`: "sequence" allows all;
        "pointwise" and "causal" promise more. Generation and methods that run along a
        sequence need one of these.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.flax import FromLinen
      >>> def attend(module, xs, *, mask, train):
      ...     pairs = None if mask is None else nn.make_attention_mask(mask, mask)
      ...     return module(xs, mask=pairs, deterministic=not train)
      >>> attention = nn.MultiHeadDotProductAttention(num_heads=2)
      >>> model = jrnn.Sequential(
      ...     jrnn.Recurrent(jrnn.GRU(4)),
      ...     jrnn.Residual(FromLinen(attention, call=attend)),
      ...     FromLinen(nn.RMSNorm()),
      ... )
      >>> params = model.init(jax.random.key(0), input_size=3)
      >>> state, ys = model.apply(params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)
    """

    module: nn.Module
    output_size: int | None = None
    call: Callable[..., Array] = modules.call_module
    over_time: str = "sequence"

    def __post_init__(self) -> None:
        checks.one_of("over_time", self.over_time, OVER_TIME)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> Params:
        """Draws the parameters of the module."""
        xs = modules.example_input(input_size, dtype)
        variables = self.module.init(
            {"params": key}, xs, method=self.call, mask=None, train=False
        )
        modules.check_only_params(variables, "params")
        return modules.cast_floating(variables.get("params", {}), dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> tuple[()]:
        """Returns an empty tuple, as there is no state."""
        del params, batch_shape
        return ()

    def apply(
        self,
        params: Params,
        state: Any,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[()], Array]:
        """Applies the module to the whole sequence. It ignores resets."""
        del state, reset

        def call(xs: Array, keep: Array | None) -> Array:
            rngs = {} if key is None else {"dropout": key}
            ys: Any = self.module.apply(
                {"params": params},
                xs,
                method=self.call,
                mask=keep,
                train=key is not None,
                rngs=rngs,
            )
            return ys

        return (), modules.apply_with_padding(call, xs, lengths, mask, self.output_size)


def _params(module: Any, maker: Cell | Layer, input_size: int) -> Params:
    """Makes each leaf of the parameters of a cell or layer a parameter of the module.

    One call of `init` draws all leaves, because some are functions of others.
    """
    like = modules.param_shapes(maker, input_size, module.param_dtype)
    shapes = named_arrays.flatten(like)
    for name in module.partitioning:
        checks.one_of("a name in partitioning", name, shapes)
    drawn: dict[str, Array] = {}
    missing = any(not module.has_variable("params", name) for name in shapes)
    if missing and module.is_mutable_collection("params"):
        key = module.make_rng("params")
        drawn = named_arrays.flatten(maker.init(key, input_size, module.param_dtype))

    def parameter(name: str) -> Array:
        def init(key: PRNGKey) -> Array:
            del key  # drawn above, or else Flax needs only the shape
            like = shapes[name]
            return drawn[name] if drawn else jnp.zeros(like.shape, like.dtype)

        axes = module.partitioning.get(name)
        return module.param(
            name, init if axes is None else nn.with_partitioning(init, axes)
        )

    return named_arrays.unflatten(like, {name: parameter(name) for name in shapes})


def _noise(module: nn.Module) -> PRNGKey | None:
    return module.make_rng("dropout") if module.has_rng("dropout") else None
