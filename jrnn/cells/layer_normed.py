"""Layer normalization inside a recurrent cell."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.cells.affine import join
from jrnn.cells.wrapper_base import Wrapper, inner_params, require_gated
from jrnn.forms import Gated
from jrnn.numerics import along, normalize
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State
from jrnn.values import exportable, value


@exportable
class LayerNormedParams(NamedTuple):
    """Parameters of a gated cell and of the two normalizations in it."""

    cell: Params
    scale_x: Array  # [k*H] of the input's matmul
    scale_h: Array  # [k*H] of the state's matmul


@value
class LayerNormed(Wrapper):
    """Normalizes both matmuls of a gated cell [1].

        pre = LN(h Wh) * scale_h + LN(x Wx) * scale_x + b

    with LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon) over all gates together. Biases
    are those of the cell. `LayerNormed(GRU)` is the layer-normalized GRU of haste [2];
    that of Ba et al. normalizes the gates and the candidate apart, see `LayerNormGRU`.
    They also normalize the memory of an LSTM where it is read, see `LayerNormLSTM`.

    Attributes:
      cell: A cell whose form is gated and whose projected input is its matmul: `Elman`,
        `LSTM`, `GRU`. Put `Zoneout` and `ResidualCell` around the normalized cell.
      epsilon: Keeps the square root away from zero. It must be positive.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LayerNormed(jrnn.GRU(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Ba et al., 2016, https://arxiv.org/abs/1607.06450
      [2] LMNT, 2020, https://github.com/lmnt-com/haste
    """

    cell: Cell
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("epsilon", self.epsilon)
        require_gated(self, "normalizes the two matmuls")

    @property
    def form(self) -> Gated:
        inner: Any = self.cell.form.focus(inner_params)

        def combine(params: Any, u: Any, v: Array) -> Any:
            v = self._normalize(v, params.scale_h)
            return inner.combine(params, u, v)

        def update(params: Any, state: State, p: tuple[Any, Array]) -> State:
            return inner.update(params, state, combine(params, *p))

        def gates(params: Any, state: State, p: tuple[Any, Array]) -> dict[str, Array]:
            return inner.gates(params, state, combine(params, *p))

        return inner._replace(
            combine=lambda params, u, v: (u, v),  # cheap; `update` is hoisted
            update=update,
            inputs=None,
            gates=inner.gates and gates,
            local=False,
        )

    def init(
        self, key: PRNGKey, input_size: Any, dtype: DType = float
    ) -> LayerNormedParams:
        """Draws the parameters of the cell; scales are one.

        Raises:
          TypeError: if the cell projects its input to more than one matmul.
        """
        params = self.cell.init(key, input_size, dtype)
        width = jax.eval_shape(self._recurrent, params).shape[-1]
        size = checks.sizes("input_size", input_size)
        if len(size) == self.feature_axes:
            self._check_width(params, jnp.zeros(size, dtype), key, width)
        scales = jnp.ones(width, dtype), jnp.ones(width, dtype)
        return LayerNormedParams(params, *scales)

    def initial_state(self, params: LayerNormedParams, batch_shape: Shape = ()) -> Any:
        """Returns the initial state of the cell."""
        return self.cell.initial_state(params.cell, batch_shape)

    def prepare(
        self,
        params: LayerNormedParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> LayerNormedParams:
        """Prepares the parameters of the cell."""
        cell = self.cell.prepare(params.cell, key=key, batch_shape=batch_shape)
        return params._replace(cell=cell)

    def project(
        self, params: LayerNormedParams, x: Array, *, key: PRNGKey | None = None
    ) -> Any:
        """Maps inputs to their normalized matmul, plus the biases."""
        u, separate = join(self.cell.project(params.cell, x, key=key), x.ndim)
        # The projection is affine: at zero it is the biases alone.
        zero = jnp.zeros(x.shape[x.ndim - self.feature_axes :], x.dtype)
        bias = self.cell.project(params.cell, zero)  # a mask adds axes of the batch
        bias, _ = join(bias, jax.tree.leaves(bias)[0].ndim)
        return separate(
            self._normalize(u - along(bias, u), params.scale_x) + along(bias, u)
        )

    def read(self, params: LayerNormedParams, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params.cell, state, u)

    def _normalize(self, a: Array, scale: Array) -> Array:
        """Returns LN(a) * scale, in the precision of `a`: that of the cell inside."""
        return along(scale.astype(a.dtype), a) * normalize(a, self.epsilon)

    def _check_width(self, params: Params, x: Array, key: PRNGKey, width: int) -> None:
        """Raises if the projected input holds more than the matmul, as of zoneout."""

        def project(params: Params, x: Array, key: PRNGKey) -> Any:
            return self.cell.project(self.cell.prepare(params), x, key=key)

        u = jax.tree.leaves(jax.eval_shape(project, params, x, key))
        if sum((leaf.shape or (1,))[-1] for leaf in u) != width:
            raise TypeError(
                f"LayerNormed normalizes the matmul of the input, of size {width}, but "
                f"{self.cell} projects the input to {[leaf.shape for leaf in u]}. "
                "Normalize the cell inside, as in `Zoneout(LayerNormed(cell), rates)`."
            )

    def _recurrent(self, params: Params) -> Array:
        """Returns the matmul of an initial state, for its shape."""
        form: Any = self.cell.form
        h = form.hidden(self.cell.initial_state(params))
        return form.recurrent(self.cell.prepare(params))(h)
