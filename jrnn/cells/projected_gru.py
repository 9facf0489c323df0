"""Gated recurrent unit whose output is projected to fewer units."""

from typing import NamedTuple

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import VectorCell, draw, zeros
from jrnn.cells.gru import GRU_REMEMBERS
from jrnn.forms import Factored, Gated
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, GateBias, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class ProjectedGRUParams(NamedTuple):
    """Arrays of a projected GRU with F input features, H units and P outputs.

    The gates are concatenated along the last axis, in the order r, z, n.
    """

    w_x: Array  # [F, 3H] input to gates
    w_h: Array  # [P, 3H] output to gates
    w_p: Array  # [H, P] units to output
    b_x: Array | None  # [3H] bias of the gates
    b_h: Array | None  # [H] bias under the reset gate


@exportable
class ProjectedGRUState(NamedTuple):
    """State of a projected GRU."""

    c: Array  # [..., H] units, before the projection


@value
class ProjectedGRU(VectorCell):
    """Gated recurrent unit [1] with a recurrent projection [2]; the output is h'.

        r  = gate(x Wxr + br + h Whr)                     reset gate
        z  = gate(x Wxz + bz + h Whz)                     update gate
        n  = activation(x Wxn + bn + r * (h Whn + b_h))   candidate
        c' = (1 - z) * n + z * c
        h' = c' Wp

    The state c has H units. The gates read h, which is also the output and has only P
    features, as in `ProjectedLSTM`. Only c is carried: h is c Wp at every step, so the
    recurrent map is one matrix of rank P, and the gated kernel runs the cell.

    Attributes:
      hidden_size: The number H of units of the state.
      output_features: The number P of outputs.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      bias: Whether there is one bias for each gate, and `b_h` [H].
      forget_bias: Initial bias of the update gate, as in `GRU`.
      scheme: How parameters are initialized, as in `GRU`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ProjectedGRU(hidden_size=8, output_features=2)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.c.shape
      ((2, 5, 2), (2, 8))

    References:
      [1] Cho et al., 2014, https://arxiv.org/abs/1406.1078
      [2] Sak et al., 2014, https://arxiv.org/abs/1402.1128
    """

    hidden_size: int
    output_features: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    forget_bias: float | GateBias | None = init_only(None)
    scheme: str = init_only("jrnn")

    @property
    def output_size(self) -> int:
        return self.output_features

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.c,
            recurrent=lambda params: Factored(params.w_p, params.w_h),
            combine=self._combine,
            update=self._update,
            gates=self._gates,
            local=False,  # the projection reaches every unit
        )

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> ProjectedGRUParams:
        """Draws parameters for inputs [..., input_size]."""
        key, key_p, key_n = checks.split_key(key, 3)
        size, read = self.hidden_size, self.output_features
        scheme = initializers.scheme(self.scheme, "gru")
        w_x, w_h, b_x, _ = draw(self, key, "gru", input_size, 3, dtype, GRU_REMEMBERS)
        w_p = scheme.w_h(key_p, read, size, 1, dtype).T  # PyTorch's bound counts H
        b_h = initializers.biases(key_n, scheme, size, 1, dtype) if self.bias else None
        return ProjectedGRUParams(w_x, w_h, w_p, b_x, b_h)

    def initial_state(
        self, params: ProjectedGRUParams, batch_shape: Shape = ()
    ) -> ProjectedGRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        return ProjectedGRUState(c=zeros(params.w_h, *batch_shape, self.hidden_size))

    def project(
        self, params: ProjectedGRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to r, z and n, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 3)

    def read(
        self, params: ProjectedGRUParams, state: ProjectedGRUState, u: Gates
    ) -> Array:
        """Returns h [..., P]."""
        del u
        return state.c @ params.w_p

    def _combine(self, params: ProjectedGRUParams, u: Gates, v: Array) -> Gates:
        """Adds the contributions to r and z; those to n stay separate."""
        v_r, v_z, v_n = split(v, 3)
        v_n = v_n if params.b_h is None else v_n + along(params.b_h, v_n)
        return u[0] + v_r, u[1] + v_z, u[2], v_n

    def _update(
        self, params: ProjectedGRUParams, state: ProjectedGRUState, p: Gates
    ) -> ProjectedGRUState:
        del params
        r, z, u_n, v_n = p
        n = self.activation(u_n + self.gate(r) * v_n)
        return ProjectedGRUState(c=n + self.gate(z) * (state.c - n))

    def _gates(
        self, params: ProjectedGRUParams, state: ProjectedGRUState, p: Gates
    ) -> dict[str, Array]:
        del params, state
        return {"r": self.gate(p[0]), "z": self.gate(p[1])}
