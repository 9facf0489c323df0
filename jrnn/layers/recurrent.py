"""Layers that run cells along time, in one direction or in both."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn import checks, kernels, options
from jrnn.kernels import Kernel
from jrnn.layers import over_time
from jrnn.layers.keys import optional_keys
from jrnn.scanning import scan
from jrnn.types import Array, Cell, DType, Layer, Params, PRNGKey, Shape, State
from jrnn.values import exportable, value


@value
class Recurrent:
    """A cell run over a sequence; parameters and state are those of the cell.

    Attributes:
      cell: The cell to run over time.
      reverse: Whether to run from the last valid step to the first. Outputs keep the
        order of the inputs.
      return_sequence: False returns only the output of the last valid step,
        [*batch, features], for a classifier.
      at_padding: What padded steps output, "zero" or "hold", as in `jrnn.scan`.
      unroll: Number of steps per iteration of the compiled loop, as in `jrnn.scan`.
      method: Kernel, as in `jrnn.scan`.
      remat: Rematerialization in the backward pass, as in `jrnn.scan`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Recurrent(jrnn.GRU(hidden_size=4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> state, ys = layer.apply(params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)
    """

    cell: Cell
    reverse: bool = False
    return_sequence: bool = True
    at_padding: str = "zero"
    unroll: int | None = None
    method: str | Kernel = "auto"
    remat: str | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        options.check(self)
        checks.one_of("at_padding", self.at_padding, ["zero", "hold"])
        kernels.named(self.method)
        kernels.remat.lengths(self.remat, 1)  # the time is not known yet

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def feature_axes(self) -> int:
        """The number of axes of one step."""
        return self.cell.feature_axes

    @property
    def over_time(self) -> str:
        if not self.return_sequence:
            return "reduce"
        return "sequence" if self.reverse else "causal"

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> Params:
        """Draws the parameters of the cell."""
        checks.init_key(key)
        return self.cell.init(key, input_size, dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the initial state of the cell."""
        return self.cell.initial_state(params, batch_shape)

    def apply(
        self,
        params: Params,
        state: State,
        xs: Any,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[State, Array]:
        """Runs the cell over `xs`, as `jrnn.scan` does."""
        return scan(
            self.cell,
            params,
            state,
            xs,
            lengths=lengths,
            mask=mask,
            reset=reset,
            key=key,
            reverse=self.reverse,
            return_sequence=self.return_sequence,
            at_padding=self.at_padding,
            unroll=self.unroll,
            method=self.method,
            remat=self.remat,
        )


@exportable
class BidirectionalParams(NamedTuple):
    """Parameters of the layers of both directions."""

    forward: Params
    backward: Params


@exportable
class BidirectionalState(NamedTuple):
    """States of both directions: initial or final."""

    forward: State  # after the last valid step
    backward: State  # after the first valid step


MERGES = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
    None: lambda a, b: (a, b),
}


@value
class Bidirectional:
    """Two layers that read a sequence in both directions [1]; outputs are merged.

        ys[t] = merge(forward over x[0], ..., x[t];  backward over x[T-1], ..., x[t])

    A cell is wrapped in `Recurrent`: `Bidirectional(LSTM(4))` is
    `Bidirectional(Recurrent(LSTM(4)), Recurrent(LSTM(4), reverse=True))`. With
    `Recurrent(cell, return_sequence=False)`, the output merges the final output of each
    direction: that of the forward layer at the last valid step, and that of the
    backward layer at the first step.

    Attributes:
      forward: The cell or layer that runs from the first step to the last.
      backward: The cell or layer that runs from the last valid step to the first; None
        for one like `forward`, with parameters of its own.
      merge: "concat", "sum", "mean" or "mul"; None returns the pair of outputs.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Bidirectional(jrnn.LSTM(hidden_size=4))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> state, ys = layer.apply(params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.backward.h.shape
      ((2, 5, 8), (2, 4))

    References:
      [1] Schuster and Paliwal, 1997, https://doi.org/10.1109/78.650093
    """

    forward: Cell | Layer
    backward: Cell | Layer | None = None
    merge: str | None = "concat"

    def __post_init__(self) -> None:
        checks.one_of("merge", self.merge, MERGES)
        forward, backward = self.layers
        reduced = {layer.over_time == "reduce" for layer in self.layers}
        if len(reduced) > 1 and self.merge is not None:
            raise ValueError(
                f"Bidirectional merges the outputs of {forward!r} and {backward!r}, "
                "of which only one returns a sequence. Set return_sequence=False for "
                "both or for neither, or use merge=None, which returns the pair."
            )
        for side in self.layers if self.merge is not None else ():
            over_time.refuse_pair(f"Bidirectional with merge={self.merge!r}", side)
            if self.merge == "concat" and side.output_size is None:
                raise ValueError(
                    "Bidirectional concatenates the outputs of two layers of known "
                    f"size, but the size of {side!r} is that of its input. End that "
                    "layer with a `jrnn.Dense`, or set `output_size` if it is a "
                    "`jrnn.Map`."
                )
        if isinstance(forward, Recurrent) and forward.reverse:
            raise ValueError(
                f"forward must run from the first step to the last, but {forward} has "
                "reverse=True. Remove it."
            )
        if isinstance(backward, Recurrent) and not backward.reverse:
            raise ValueError(
                f"backward must run from the last step to the first, but {backward} "
                "does not. Set reverse=True."
            )

    @property
    def layers(self) -> tuple[Layer, Layer]:
        """The layers of both directions."""
        forward, backward = self.forward, self.backward
        if isinstance(forward, Cell):
            forward = Recurrent(forward)
        else:
            options.is_layer("forward", forward)
        if isinstance(backward, Cell):
            backward = Recurrent(backward, reverse=True)
        elif backward is None and isinstance(forward, Recurrent):
            backward = dataclasses.replace(forward, reverse=True)
        elif isinstance(backward, type) or not isinstance(backward, Layer):
            raise TypeError(
                f"backward must be a cell or a layer that runs in reverse, got "
                f"{backward!r}. You can omit it if forward is a cell or a "
                "`jrnn.Recurrent`."
            )
        return forward, backward

    @property
    def output_size(self) -> int | None:
        sizes = [layer.output_size for layer in self.layers]
        if self.merge != "concat":
            return sizes[0]
        return sum(size or 0 for size in sizes)  # none of them is None

    @property
    def feature_axes(self) -> int:
        """The number of axes of one step."""
        return over_time.feature_axes(self.layers[0])

    @property
    def over_time(self) -> str:
        return over_time.joined(self.layers)

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> BidirectionalParams:
        """Draws the parameters of both layers.

        Raises:
          ValueError: if the sizes of the outputs do not fit the merge.
        """
        forward, backward = self.layers
        if self.merge in ("sum", "mean", "mul"):
            sizes = [layer.output_size or input_size for layer in self.layers]
            checks.equal_sizes("forward", *sizes)
        keys = checks.split_key(key)
        return BidirectionalParams(
            forward=forward.init(keys[0], input_size, dtype),
            backward=backward.init(keys[1], input_size, dtype),
        )

    def initial_state(
        self, params: BidirectionalParams, batch_shape: Shape = ()
    ) -> BidirectionalState:
        """Returns the initial states of both layers."""
        forward, backward = self.layers
        return BidirectionalState(
            forward=forward.initial_state(params.forward, batch_shape),
            backward=backward.initial_state(params.backward, batch_shape),
        )

    def apply(
        self,
        params: BidirectionalParams,
        state: BidirectionalState | None,
        xs: Any,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[BidirectionalState, Any]:
        """Runs both layers over `xs` and merges their outputs."""
        options.own_params(self, params, BidirectionalParams)
        keys = optional_keys(key)
        flags: Any = {"lengths": lengths, "mask": mask, "reset": reset}
        finals, outputs = [], []
        for side, layer in enumerate(self.layers):
            start = None if state is None else state[side]
            final, ys = layer.apply(params[side], start, xs, key=keys[side], **flags)
            finals.append(final)
            outputs.append(ys)
        return BidirectionalState(*finals), MERGES[self.merge](*outputs)
