"""How the state of a cell moves in one step, as a value: the form of the cell.

A cell returns one of three forms. `Cell.step` is derived from it, and kernels, gradient
methods and diagnostics dispatch on it:

    Gated     one linear map of the state, then an elementwise update
    Linear    h' = a * h + b, with a and b that do not depend on h
    Plain     any other step, with the structure of its Jacobian

A wrapper returns the form of the cell inside, mapped: `focus` finds the parameters and
the projected input of the inner cell, `wrap` changes what one step does to the state.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.linear_maps import (
    BlockDiagonal as BlockDiagonal,
    Factored as Factored,
    LinearMap as LinearMap,
    Matmul as Matmul,
)
from jrnn.numerics import along

Array = jax.Array
Structure = str | tuple[str, int]  # "dense", "diagonal", ("block", k) or "linear"
Step = Callable[[Any, Any, Any], Any]  # params, state, u -> state
Advance = Callable[[Any], Any]  # state -> state
Around = Callable[[Any, Any, Any, Advance], Any]  # params, u, state, advance -> state
Focus = Callable[[Any], Any] | None  # None for the identity
# Returns gates by name for diagnostics, each [..., H] and within [0, 1].
Show = Callable[[Any, Any, Any], dict[str, Array]]


def add_gates(params: Any, u: Any, v: Array) -> Any:
    """Adds the contribution of the state [..., k*H] to that of the input, by gate.

    Example:
      >>> u = (jnp.ones(2), jnp.zeros(2))
      >>> [p.tolist() for p in add_gates(None, u, jnp.array([1.0, 2.0, 3.0, 4.0]))]
      [[2.0, 3.0], [3.0, 4.0]]
    """
    del params
    leaves, structure = jax.tree.flatten(u)
    added = zip(leaves, jnp.split(v, len(leaves), axis=-1), strict=True)
    return jax.tree.unflatten(structure, [a + b for a, b in added])


def check_around(around: Around, params: Any, u: Any, state: Any) -> None:
    """Raises unless `around` is linear, so that JAX can transpose it.

    The arguments are arrays or their shapes; nothing is computed.

    Raises:
      TypeError: if it is not linear in the state and in what `advance` returns.

    Example:
      >>> def keep_half(params, u, state, advance):
      ...     return 0.5 * state + 0.5 * advance(state)
      >>> check_around(keep_half, None, None, jnp.ones(3))
    """

    def transpose(params: Any, u: Any, state: Any) -> Any:
        def both(state: Any, new: Any) -> Any:
            return around(params, u, state, lambda state: new)

        return jax.linear_transpose(both, state, state)(state)

    if around is directly:
        return
    try:
        jax.eval_shape(transpose, params, u, state)
    except Exception as error:
        raise TypeError(
            "`around`, which a wrapper passes to `form.wrap`, must be linear in the "
            "state and in what `advance` returns, because kernels apply it to tangents "
            "too. To change the state in another way, return `jrnn.forms.Plain(step)` "
            "with a step that calls `cell.form.step`."
        ) from error


def directly(params: Any, u: Any, state: Any, advance: Advance) -> Any:
    """Advances the state and changes nothing else.

    Example:
      >>> directly(None, None, 3, lambda state: state + 1)
      4
    """
    del params, u
    return advance(state)


class Gated(NamedTuple):
    """One linear map of the state, then an elementwise update.

        v      = recurrent(params)(hidden(state) * mask(params))
        p      = combine(params, u, v)              pre-activations
        state' = update(params, state, p)

    The gated kernel computes the map once per step, and its weight gradient as one
    matmul for many steps. A wrapper can change the step with `around`: the state after
    a step is `around(params, u, state, advance)`, where `advance` computes the above.
    `around` calls `advance` once. Kernels also apply it to tangents, so it must be
    linear in the state and in what `advance` returns, and may use only masks and shapes
    of `params` and `u`.
    """

    hidden: Callable[[Any], Array]  # state -> [..., H], what is multiplied
    recurrent: Callable[[Any], LinearMap]  # params -> the map, [..., H] to [..., k*H]
    update: Callable[[Any, Any, Any], Any]  # params, state, p -> state
    combine: Callable[[Any, Any, Array], Any] = add_gates  # cheap: stays in the loop
    inputs: Callable[[Any], Array] | None = None  # params -> [F, k*H], see below
    gates: Show | None = None  # params, state, p -> gates, for diagnostics
    around: Around = directly
    mask: Callable[[Any], Array | None] | None = None  # params -> factor of `hidden`
    local: bool = True  # each parameter reaches one unit, that of its last axis

    # With `inputs`, `recurrent` is a `Matmul`, and kernels may join both matmuls if
    # `Cell.affine_inputs` is true:
    # combine(params, project(params, x), v)
    #     = combine(params, project(params, 0), x @ inputs(params) + v)

    @property
    def structure(self) -> Structure:
        """Structure of the Jacobian of the state."""
        return "dense"

    def step(self, params: Any, state: Any, u: Any) -> Any:
        """Returns the next state."""

        def advance(state: Any) -> Any:
            return self.update(params, state, self.preactivate(params, state, u))

        return self.around(params, u, state, advance)

    def preactivate(self, params: Any, state: Any, u: Any) -> Any:
        """Returns the pre-activations."""
        return self.combine(params, u, self.recurrent(params)(self.seen(params, state)))

    def seen(self, params: Any, state: Any) -> Array:
        """Returns what the linear map multiplies, [..., H]."""
        h, mask = self.hidden(state), self.mask and self.mask(params)
        return h if mask is None else h * along(mask.astype(h.dtype), h)

    def focus(self, params: Focus = None, u: Focus = None) -> "Gated":
        """Returns the form of a cell that holds this one's params and u inside.

        Args:
          params: Function from outer to inner parameters; None where they are the same.
          u: The same for projected inputs.
        """
        at, of = params or _same, u or _same
        inputs, around, mask = self.inputs, self.around, self.mask
        return Gated(
            hidden=self.hidden,
            recurrent=lambda p: self.recurrent(at(p)),
            update=_focus(self.update, params, None),
            combine=lambda p, u, v: self.combine(at(p), of(u), v),
            inputs=inputs and (lambda p: inputs(at(p))),
            gates=_focus(self.gates, params, None),
            around=around
            if around is directly
            else lambda p, u, state, advance: around(at(p), of(u), state, advance),
            mask=mask and (lambda p: mask(at(p))),
            local=self.local,
        )

    def wrap(self, around: Around) -> "Gated":
        """Returns the form whose step is `around(params, u, state, step)`."""
        inner = self.around
        return self._replace(
            around=lambda p, u, state, advance: around(
                p, u, state, lambda state: inner(p, u, state, advance)
            )
        )


class Linear(NamedTuple):
    """h' = a * h + b, with a and b that do not depend on h.

    With `pair`, the state is a pair of leaves, the real and the imaginary part of h,
    and a and b are complex arrays. Otherwise a and b are trees like the state. In both
    cases arrays broadcast against the state: a factor of `params` alone needs no axis
    of time, and kernels then read it once.
    """

    coefficients: Callable[[Any, Any], tuple[Any, Any]]  # params, u -> a, b
    pair: bool = False  # the state is one complex array as real and imaginary part
    gates: Show | None = None  # params, state, u -> gates, for diagnostics
    local: bool = True  # each parameter reaches one unit, that of its last axis

    @property
    def structure(self) -> Structure:
        """Structure of the Jacobian of the state: diagonal and free of the state."""
        return "linear"

    def step(self, params: Any, state: Any, u: Any) -> Any:
        """Returns the next state, with the dtypes of the old one."""
        a, b = self.coefficients(params, u)
        leaves, structure = jax.tree.flatten(state)
        if self.pair:  # by parts: XLA does not vectorize complex loops on a CPU
            re, im = (leaf.astype(a.real.dtype) for leaf in leaves)
            a, b = along(a, re), along(b, re)
            new = [
                a.real * re - a.imag * im + b.real,
                a.real * im + a.imag * re + b.imag,
            ]
        else:
            new = jax.tree.leaves(_affine(a, state, b))
        cast = [n.astype(h.dtype) for n, h in zip(new, leaves, strict=True)]
        return jax.tree.unflatten(structure, cast)

    def focus(self, params: Focus = None, u: Focus = None) -> "Linear":
        """Returns the form of a cell that holds this one's params and u inside."""
        at, of = params or _same, u or _same
        return self._replace(
            coefficients=lambda p, u: self.coefficients(at(p), of(u)),
            gates=_focus(self.gates, params, u),
        )

    def wrap(self, around: Around) -> "Linear | Plain":
        """Returns the form whose step is `around(params, u, state, step)`.

        `around` is linear, so the coefficients tell what it does; but what it does to
        the two parts of a complex number need not be linear in that number.
        """
        if self.pair:
            step = _wrap(self.step, around)
            return Plain(step, ("block", 2), self.gates, self.local)

        def coefficients(params: Any, u: Any) -> tuple[Any, Any]:
            a, b = self.coefficients(params, u)
            zero = jax.tree.map(lambda f, c: jnp.zeros_like(along(f, c) * c), a, b)
            check_around(around, params, u, zero)
            one = jax.tree.map(jnp.ones_like, zero)
            factor = around(params, u, one, lambda state: _affine(a, state, zero))
            return factor, around(params, u, zero, lambda state: _affine(a, state, b))

        return self._replace(coefficients=coefficients)


class Plain(NamedTuple):
    """Any other step, with the structure of the Jacobian of the state.

    "dense"         no structure is known
    "diagonal"      each unit depends only on itself; one leaf of shape [..., H]
    ("block", k)    the same with k leaves, whose entries i belong to unit i
    """

    step: Step
    structure: Structure = "dense"
    gates: Show | None = None  # params, state, u -> gates, for diagnostics
    local: bool = True  # unless dense, each parameter reaches the unit of its last axis

    def focus(self, params: Focus = None, u: Focus = None) -> "Plain":
        """Returns the form of a cell that holds this one's params and u inside."""
        gates = _focus(self.gates, params, u)
        return self._replace(step=_focus(self.step, params, u), gates=gates)

    def wrap(self, around: Around) -> "Plain":
        """Returns the form whose step is `around(params, u, state, step)`."""
        return self._replace(step=_wrap(self.step, around))


Form = Gated | Linear | Plain


def gates_of(form: Any) -> Show | None:
    """Returns the gates of a form as a function of (params, state, u), or None.

    Example:
      >>> form = Plain(lambda params, state, u: u, gates=lambda *args: {"forget": args})
      >>> gates_of(form)("params", "state", "u")
      {'forget': ('params', 'state', 'u')}
    """
    gates = form.gates
    if gates is None or not isinstance(form, Gated):
        return gates
    return lambda p, state, u: gates(p, state, form.preactivate(p, state, u))


def _same(tree: Any) -> Any:
    return tree


def _affine(a: Any, state: Any, b: Any) -> Any:
    return jax.tree.map(lambda f, h, c: along(f, h) * h + along(c, h), a, state, b)


def _focus(function: Any, params: Focus, u: Focus) -> Any:
    """Precomposes a function of (params, state, u); None stays."""
    at, of = params or _same, u or _same
    return function and (lambda p, state, v: function(at(p), state, of(v)))


def _wrap(step: Step, around: Around) -> Step:
    return lambda p, state, u: around(p, u, state, lambda state: step(p, state, u))
