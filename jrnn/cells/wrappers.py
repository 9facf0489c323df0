"""Wrappers: zoneout, residual connections, learned initial states."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, numerics
from jrnn.cells.wrapper_base import Prepared, Wrapper, inner_params, inner_u
from jrnn.forms import Advance, Form
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State
from jrnn.values import exportable, value


@value
class Zoneout(Wrapper):
    """Keeps the values of random units [1].

        s' = m * s + (1 - m) * cell(s),    m = 1 with probability rate

    for every leaf of the state and every step. Without a key, in evaluation, m is its
    mean: s' = rate * s + (1 - rate) * cell(s). The output is read from the new state.

    Attributes:
      cell: The cell to wrap.
      rates: Probability that a unit keeps its value, in [0, 1): one number, or one for
        each leaf of the state, for an LSTM those of (h, c).

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Zoneout(jrnn.LSTM(hidden_size=4), rates=(0.05, 0.5))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> xs = jnp.ones((2, 5, 3))
      >>> _, ys = jrnn.scan(cell, params, None, xs, key=jax.random.key(1))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Krueger et al., 2017, https://arxiv.org/abs/1606.01305
    """

    cell: Cell
    rates: float | tuple[float, ...]

    affine_inputs = Wrapper.affine_inputs

    def __post_init__(self) -> None:
        super().__post_init__()
        rates = self.rates if isinstance(self.rates, tuple) else (self.rates,)
        for rate in rates:
            checks.probability("rates", rate)

    @property
    def form(self) -> Form:
        return self.cell.form.focus(inner_params, inner_u).wrap(self._blend)

    def init(self, key: PRNGKey, input_size: Any, dtype: DType = float) -> Params:
        """Draws the parameters of the cell.

        Raises:
          ValueError: if there is not one rate for each leaf of the state.
        """
        params = self.cell.init(key, input_size, dtype)
        self._by_leaf(jax.eval_shape(self.cell.initial_state, params))
        return params

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Prepared:
        """Prepares the parameters of the cell."""
        cell = self.cell.prepare(params, key=key, batch_shape=batch_shape)
        return Prepared(cell, self.cell.initial_state(params))

    def project(self, params: Prepared, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the input, and draws what each unit keeps at each step."""
        if key is None:
            return self.cell.project(params.cell, x), None
        key_mask, key = jax.random.split(key)
        leaf = jax.tree.leaves(x)[0]
        batch = leaf.shape[: leaf.ndim - self.feature_axes]
        leaves, structure = jax.tree.flatten(params.like)
        masks = [
            jax.random.bernoulli(k, rate, (*batch, *leaf.shape)).astype(leaf.dtype)
            for k, rate, leaf in zip(
                jax.random.split(key_mask, len(leaves)),
                self._by_leaf(params.like),
                leaves,
                strict=True,
            )
        ]
        u = self.cell.project(params.cell, x, key=key)
        return u, jax.tree.unflatten(structure, masks)

    def read(self, params: Prepared, state: State, u: Any) -> Array:
        """Returns the output of the cell in the blended state."""
        return self.cell.read(params.cell, state, u[0])

    def _blend(self, params: Any, u: Any, state: State, advance: Advance) -> State:
        del params
        new, kept = advance(state), u[1]
        if kept is None:
            structure = jax.tree.structure(state)
            kept = jax.tree.unflatten(structure, self._by_leaf(state))

        def blend(m: Any, a: Array, b: Array) -> Array:
            m = jnp.asarray(m, a.dtype)
            return m * a + (1 - m) * b

        return jax.tree.map(blend, kept, state, new)

    def _by_leaf(self, state: State) -> tuple[float, ...]:
        number = len(jax.tree.leaves(state))
        rates = self.rates if isinstance(self.rates, tuple) else (self.rates,) * number
        checks.count("rates", rates, number, "one per leaf of the state")
        return rates


@value
class ResidualCell(Wrapper):
    """Adds the input of a cell to its output.

        y = x + cell(x)

    Attributes:
      cell: A cell whose output has the size of its input.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ResidualCell(jrnn.GRU(hidden_size=3))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 3)

    References:
      Prakash et al., 2016, https://arxiv.org/abs/1610.03098
    """

    cell: Cell

    affine_inputs = Wrapper.affine_inputs

    @property
    def form(self) -> Form:
        return self.cell.form.focus(u=inner_u)

    def init(self, key: PRNGKey, input_size: Any, dtype: DType = float) -> Params:
        """Draws the parameters of the cell.

        Raises:
          ValueError: if the cell changes the number of features.
        """
        features = checks.sizes("input_size", input_size)[-1]
        checks.equal_sizes("the cell of ResidualCell", self.output_size, features)
        return self.cell.init(key, input_size, dtype)

    def project(self, params: Params, x: Array, *, key: PRNGKey | None = None) -> Any:
        """Projects the input, and keeps it for the output."""
        return self.cell.project(params, x, key=key), x

    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output of the cell plus its input.

        Raises:
          ValueError: if their shapes differ, as after a convolution that shrinks.
        """
        y, x = self.cell.read(params, state, u[0]), u[1]
        checks.same_shape("The output of the cell", y, x.shape, "its input")
        return y + x


@exportable
class LearnedStateParams(NamedTuple):
    """Parameters of a cell, and its initial state."""

    cell: Params
    state: State  # one example's initial state


@value
class LearnedState(Wrapper):
    """Learns the initial state of a sequence, or of an episode after a reset.

    It is initialized as the initial state of the cell, and shared by all examples.

    Attributes:
      cell: The cell to wrap.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LearnedState(jrnn.GRU(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> loss = lambda p: jrnn.scan(cell, p, None, jnp.ones((2, 5, 3)))[1].sum()
      >>> bool((jax.grad(loss)(params).state.h != 0).all())
      True
    """

    cell: Cell

    def init(
        self, key: PRNGKey, input_size: Any, dtype: DType = float
    ) -> LearnedStateParams:
        """Draws the parameters of the cell; the state starts as the cell's own."""
        params = self.cell.init(key, input_size, dtype)
        return LearnedStateParams(params, self.cell.initial_state(params))

    def initial_state(
        self, params: LearnedStateParams, batch_shape: Shape = ()
    ) -> State:
        """Returns the learned state, for every example of a batch.

        It is a copy also without a batch: otherwise donating it would take the
        parameters along.
        """
        return jax.tree.map(
            lambda a: jnp.copy(numerics.repeated(a, batch_shape)), params.state
        )

    def prepare(
        self,
        params: LearnedStateParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> Params:
        """Prepares the parameters of the cell; only they are used in steps."""
        return self.cell.prepare(params.cell, key=key, batch_shape=batch_shape)
