"""Layers that run cells along time, in one direction or in both."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.scanning import scan
from jrnn.types import (
    Array,
    Cell,
    DType,
    Params,
    PRNGKey,
    Shape,
    State,
    exportable,
    value,
)


@value
class Recurrent:
    """A cell run over a sequence; parameters and state are those of the cell.

    Attributes:
      cell: What to compute in each step.
      reverse: Whether to run from the last valid step to the first. Outputs keep the
        order of the inputs.
      return_sequence: False returns the output of the last valid step alone,
        [*batch, features], for a classifier.
      unroll: Number of steps per trip of the compiled loop.
      method: Kernel, as in `jrnn.scan`.
      remat: Memory for time in the backward pass, as in `jrnn.scan`.

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
    unroll: int = 1
    method: str = "auto"
    remat: str | tuple[int, ...] | None = None

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    def init(self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32) -> Params:
        """Draws the parameters of the cell."""
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
            unroll=self.unroll,
            method=self.method,
            remat=self.remat,
        )


@exportable
class BidirectionalParams(NamedTuple):
    """Parameters of the cells of both directions."""

    forward: Params
    backward: Params


@exportable
class BidirectionalState(NamedTuple):
    """States of both directions: what they start from, or end with."""

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
    """Two cells that read a sequence from both ends [1]; outputs are merged.

        ys[t] = merge(forward over x[0], ..., x[t];  backward over x[T-1], ..., x[t])

    With `return_sequence=False` the two outputs merged are those at the end of each
    direction's own run: the forward one at the last valid step, the backward one at the
    first.

    Attributes:
      forward: The cell that runs from the first step to the last.
      backward: The cell that runs from the last valid step to the first; None for one
        like `forward`, with parameters of its own.
      merge: "concat", "sum", "mean" or "mul"; None returns the pair of outputs.
      return_sequence: False returns the last outputs alone.
      unroll: Number of steps per trip of the compiled loops.
      method: Kernel, as in `jrnn.scan`.
      remat: Memory for time in the backward pass, as in `jrnn.scan`.

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

    forward: Cell
    backward: Cell | None = None
    merge: str | None = "concat"
    return_sequence: bool = True
    unroll: int = 1
    method: str = "auto"
    remat: str | tuple[int, ...] | None = None

    @property
    def output_size(self) -> int:
        forward, backward = self.directions
        both = forward.output_size + backward.output_size
        return both if self.merge == "concat" else forward.output_size

    @property
    def directions(self) -> tuple[Cell, Cell]:
        """The cells of both directions."""
        return self.forward, self.backward or self.forward

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> BidirectionalParams:
        """Draws the parameters of both cells.

        Raises:
          ValueError: if the merge does not exist or the outputs do not fit it.
        """
        checks.one_of("merge", self.merge, MERGES)
        forward, backward = self.directions
        if self.merge in ("sum", "mean", "mul"):
            checks.equal_sizes("forward", forward.output_size, backward.output_size)
        keys = jax.random.split(key)
        return BidirectionalParams(
            forward=forward.init(keys[0], input_size, dtype),
            backward=backward.init(keys[1], input_size, dtype),
        )

    def initial_state(
        self, params: BidirectionalParams, batch_shape: Shape = ()
    ) -> BidirectionalState:
        """Returns the initial states of both cells."""
        forward, backward = self.directions
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
        """Runs both cells over `xs` and merges their outputs."""
        keys = (None, None) if key is None else jax.random.split(key)
        finals, outputs = [], []
        for side, cell in enumerate(self.directions):
            final, ys = scan(
                cell,
                params[side],
                None if state is None else state[side],
                xs,
                lengths=lengths,
                mask=mask,
                reset=reset,
                key=keys[side],
                reverse=side == 1,
                return_sequence=self.return_sequence,
                unroll=self.unroll,
                method=self.method,
                remat=self.remat,
            )
            finals.append(final)
            outputs.append(ys)
        return BidirectionalState(*finals), MERGES[self.merge](*outputs)
