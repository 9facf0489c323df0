"""Attention: a weighted mean of a memory; and a cell that attends at every step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, forms, initializers, masks, numerics, options
from jrnn.cells.base import zeros
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State
from jrnn.values import exportable, value

SCORES = ("additive", "dot")


@exportable
class Memory(NamedTuple):
    """The memory of an attention: the outputs of an encoder at S positions."""

    keys: Array  # [*batch, S, A] places, as they are compared with a query
    values: Array  # [*batch, S, M]
    mask: Array  # booleans [*batch, S], False where there is padding


@exportable
class AttentionParams(NamedTuple):
    """Parameters of a comparison of queries of Q with values of M features."""

    w_query: Array  # [Q, A]
    w_key: Array  # [M, A]
    v: Array | None  # [A]; None for "dot"
    memory: Memory | None = None  # set by `attend_to`; not learned


def init_attention(
    key: PRNGKey, query: int, memory: int, size: int, score: str, dtype: DType
) -> AttentionParams:
    """Draws LeCun normal weights."""
    keys = checks.split_key(key, 3)
    v = initializers.lecun_normal(keys[2], size, 1, 1, dtype)[:, 0]
    return AttentionParams(
        w_query=initializers.lecun_normal(keys[0], query, size, 1, dtype),
        w_key=initializers.lecun_normal(keys[1], memory, size, 1, dtype),
        v=v if score == "additive" else None,
    )


def attend_to(
    params: Params, values: Array, *, lengths: Any = None, mask: Any = None
) -> Params:
    """Returns parameters with a memory for every attention in them.

    Gradients flow into the memory. Keys are computed here, once.

    Args:
      params: Parameters of a cell, a layer or a model that holds attentions.
      values: The memory [*batch, S, M], such as the outputs of an encoder.
      lengths: Integers [*batch], the number of valid positions of each row.
      mask: Booleans [*batch, S], which positions are valid; None for all.

    Raises:
      ValueError: if there is no attention in `params`, or if a shape does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Attention(features=4, memory_size=5)
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> params = jrnn.layers.attend_to(params, jnp.ones((2, 7, 5)))
      >>> layer.apply(params, None, jnp.ones((2, 6, 3)))[1].shape
      (2, 6, 4)
    """
    values = jnp.asarray(values)
    *batch, places = values.shape[:-1]
    keep = masks.valid_steps(lengths, mask, tuple(batch), places)
    if keep is None:
        keep = jnp.ones((*batch, places), bool)
    else:
        values = jnp.where(keep[..., None], values, 0)
    found = False

    def attach(node: Any) -> Any:
        nonlocal found
        if not isinstance(node, AttentionParams):
            return node
        found = True
        checks.last_axis("values", values, node.w_key.shape[0])
        return node._replace(memory=Memory(values @ node.w_key, values, keep))

    params = jax.tree.map(
        attach, params, is_leaf=lambda node: isinstance(node, AttentionParams)
    )
    if not found:
        raise ValueError(
            "params contain no attention. Use a decoder with a `jrnn.Attention` or a "
            "`jrnn.AttentionCell`."
        )
    return params


def attend(params: AttentionParams, queries: Array) -> tuple[Array, Array]:
    """Returns the contexts and the weights of queries.

    Args:
      params: Parameters with a memory.
      queries: [*batch, T, Q].

    Returns:
      Contexts [*batch, T, M], and weights [*batch, T, S], which sum to one, or to zero
      where the whole memory is padding.
    """
    if params.memory is None:
        raise ValueError(
            "there is nothing to attend to. Set the memory first: "
            "`params = jrnn.layers.attend_to(params, encoded)`."
        )
    keys, values, mask = params.memory
    checks.last_axis("xs", queries, params.w_query.shape[0])
    checks.memory_rows(mask.shape[:-1], queries.shape[:-2])
    q = queries @ params.w_query
    if params.v is None:
        scores = jnp.einsum("...ta,...sa->...ts", q, keys) / jnp.sqrt(
            jnp.asarray(q.shape[-1], q.dtype)
        )
    else:
        compared = jnp.tanh(q[..., :, None, :] + keys[..., None, :, :])
        scores = compared @ params.v
    mask = mask[..., None, :]
    wide = jnp.where(mask, scores.astype(numerics.wide(scores)), -jnp.inf)
    some = jnp.any(mask, axis=-1, keepdims=True)
    weights = jax.nn.softmax(jnp.where(some, wide, 0), axis=-1)
    weights = jnp.where(mask, weights, 0).astype(values.dtype)
    return weights @ values, weights


@exportable
class AttentionCellParams(NamedTuple):
    """Parameters of a cell, and of the attention that it reads."""

    cell: Params
    attention: AttentionParams


@exportable
class AttentionState(NamedTuple):
    """State of a cell with attention, after a step."""

    cell: State
    y: Array  # [..., output of the cell], the next query
    context: Array  # [..., M]


@value
class AttentionCell(Cell):
    """A cell that reads a memory at every step [1].

        c_t, weights_t = attend(memory, y_t-1)
        y_t, state_t   = cell([x_t, c_t], state_t-1)
        output           [y_t, c_t]

    The query is the output of the previous step, so the attention and the matmul with
    the input run inside the loop. `jrnn.Attention`, a layer above the recurrence, is
    faster: it attends for all steps at once. Set the memory with
    `jrnn.layers.attend_to`.

    Attributes:
      cell: The cell, whose input is [x_t, c_t].
      memory_size: The number of features of the memory.
      hidden_size: The number of features in which queries and keys are compared.
      score: "additive": v . tanh(W q + U k) [1]; or "dot": W q . U k / sqrt(A) [2].

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.AttentionCell(jrnn.GRU(4), memory_size=5, hidden_size=6)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> params = jrnn.layers.attend_to(params, jnp.ones((2, 7, 5)))
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 8, 3)))
      >>> ys.shape, cell.weights(params, None, ys).shape
      ((2, 8, 9), (2, 8, 7))

    References:
      [1] Bahdanau et al., 2015, https://arxiv.org/abs/1409.0473
      [2] Vaswani et al., 2017, https://arxiv.org/abs/1706.03762
    """

    cell: Cell
    memory_size: int
    hidden_size: int
    score: str = "additive"

    feature_axes = 1

    def __post_init__(self) -> None:
        options.check(self)
        checks.one_of("score", self.score, SCORES)

    @property
    def output_size(self) -> int:
        return self.cell.output_size + self.memory_size

    @property
    def form(self) -> forms.Form:
        return forms.Plain(self._step)

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> AttentionCellParams:
        """Draws the parameters of the cell and of the attention."""
        input_size = checks.integer("input_size", input_size, 1)
        key_cell, key_attention = checks.split_key(key)
        return AttentionCellParams(
            self.cell.init(key_cell, input_size + self.memory_size, dtype),
            init_attention(
                key_attention,
                self.cell.output_size,
                self.memory_size,
                self.hidden_size,
                self.score,
                dtype,
            ),
        )

    def initial_state(
        self, params: AttentionCellParams, batch_shape: Shape = ()
    ) -> AttentionState:
        """Returns the initial state of the cell, and zeros."""
        like = params.attention.w_key
        return AttentionState(
            self.cell.initial_state(params.cell, batch_shape),
            zeros(like, *batch_shape, self.cell.output_size),
            zeros(like, *batch_shape, self.memory_size),
        )

    def prepare(
        self,
        params: AttentionCellParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> AttentionCellParams:
        """Prepares the parameters of the cell."""
        cell = self.cell.prepare(params.cell, key=key, batch_shape=batch_shape)
        return params._replace(cell=cell)

    def project(
        self, params: AttentionCellParams, x: Array, *, key: PRNGKey | None = None
    ) -> tuple[Array, PRNGKey | None]:
        """Returns the input: the cell needs the context to project it."""
        del params
        return x, None if key is None else numerics.typed_key(key)

    def read(self, params: AttentionCellParams, state: AttentionState, u: Any) -> Array:
        """Returns the output of the cell and the context."""
        del params, u
        return jnp.concatenate([state.y, state.context], axis=-1)

    def weights(
        self,
        params: AttentionCellParams,
        state: AttentionState | None,
        ys: Array,
        *,
        mask: Array | None = None,
        reset: Array | None = None,
    ) -> Array:
        """Returns the attention weights of each step of a scan that runs forward.

        Args:
          params: Parameters with a memory.
          state: The state before the scan; None for the initial state.
          ys: The outputs of the scan [*batch, time, output_size].
          mask: The mask of the scan [*batch, time]. Padding after the last valid step
            needs none.
          reset: The resets of the scan [*batch, time].

        Returns:
          [*batch, time, S], which sum to one over the memory.
        """
        mask, reset = masks.as_flags(mask), masks.as_flags(reset)
        for name, flags in (("mask", mask), ("reset", reset)):
            checks.flags(name, flags, ys.shape[:-2], ys.shape[-2], False)
        ys = ys[..., : self.cell.output_size]
        zero = jnp.zeros_like(ys[..., :1, :])
        first = zero if state is None else state.y[..., None, :]
        queries = masks.last_before(first, ys, mask)
        if reset is not None:  # the state restarts from zeros
            queries = jnp.where(reset[..., None], 0, queries)
        return attend(params.attention, queries)[1]

    def _step(
        self, params: AttentionCellParams, state: AttentionState, u: Any
    ) -> AttentionState:
        x, key = u
        context = attend(params.attention, state.y[..., None, :])[0][..., 0, :]
        joined = jnp.concatenate([x, context], axis=-1)
        inner = self.cell.project(params.cell, joined, key=key)
        new = self.cell.step(params.cell, state.cell, inner)
        y = self.cell.read(params.cell, new, inner)
        return AttentionState(new, y, context)
