"""Recurrences that are linear in the state, `h' = a h + b`, for all steps at once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks, masks
from jrnn.kernels.recurrence import rings
from jrnn.kernels.recurrence.places import Place, over
from jrnn.kernels.recurrence.rings import Planes
from jrnn.kernels.recurrence.solve import METHODS, solve
from jrnn.masks import where
from jrnn.types import Array


def linear_recurrence(
    a: Array,
    b: Array,
    h0: Array | None = None,
    *,
    mask: Array | None = None,
    reset: Array | None = None,
    reverse: bool = False,
    method: str = "auto",
    mesh_axis: str | None = None,
) -> Array:
    """Computes `h_t = a_t h_t-1 + b_t` for all t, elementwise or in blocks.

    Derivatives of every order, in both modes, are linear recurrences again. The one for
    the gradient of b runs in the other direction, with factors shifted by one step.
    They save only a and h.

    Args:
      a: Factors [*batch, time, features], real or complex; or real matrices
        [*batch, time, features, k, k], one for the k coupled entries of each feature.
      b: Addends, of the shape of `a`; with matrices [*batch, time, features, k].
      h0: State before the first step, with the shape of one step of `b`; None for
        zeros.
      mask: Booleans [*batch, time]. Where False the step does nothing: the state is
        kept, and a, b and the reset are ignored, even if they are NaN.
      reset: Booleans [*batch, time]. Where True the state is zero before the step, even
        if it was infinite or NaN.
      reverse: Whether to run from the last step to the first. A reset at t acts between
        t and the valid step before it in either direction.
      method: "scan", one step after the other; "associative", a tree of depth log T;
        "chunk", chunks of sqrt(T) steps in parallel, then their borders; "pallas", one
        kernel for a TPU or a GPU, interpreted on a CPU, in float32 or less and for
        k <= 4. "auto" chooses between the first two by size and by the platform that
        the computation is compiled for: on a CPU it is "scan".

      mesh_axis: Name of an axis of the mesh in use (`jax.set_mesh`) over which time is
        sharded. Each device computes its piece, and exchanges one state and one factor
        with the others. None leaves the sharding to the compiler.

    Returns:
      The states h, of the shape of `b`.

    Raises:
      ValueError: if shapes or the method do not fit.
      TypeError: if `mask` or `reset` are not boolean, or numbers are integers.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> a, b = jnp.full((4, 1), 0.5), jnp.ones((4, 1))
      >>> jrnn.linear_recurrence(a, b)[:, 0].tolist()
      [1.0, 1.5, 1.75, 1.875]
      >>> h0 = jnp.array([8.0])
      >>> jrnn.linear_recurrence(a, b, h0, reverse=True)[:, 0].tolist()
      [2.375, 2.75, 3.5, 5.0]
      >>> turn = jnp.broadcast_to(jnp.array([[0.0, -1.0], [1.0, 0.0]]), (4, 1, 2, 2))
      >>> h0 = jnp.array([[1.0, 0.0]])
      >>> jrnn.linear_recurrence(turn, jnp.zeros((4, 1, 2)), h0)[:, 0].tolist()
      [[0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [1.0, 0.0]]

    References:
      Martin and Cundy, 2018, https://arxiv.org/abs/1709.04057
    """
    checks.one_of("method", method, ["auto", *METHODS])
    a, b = _inexact("a", a), _inexact("b", b)
    entries = 2 if a.ndim > b.ndim else 1  # axes of one step of one example
    batch, time = checks.sequence_axes(b, entries, time_major=False)
    layout = "a and b are [*batch, time, features]"
    if entries == 2:
        matrices = jax.ShapeDtypeStruct((*b.shape, b.shape[-1]), a.dtype)
        layout += ", or [..., k, k] and [..., k]"
        checks.same_structure("a", a, matrices, f"{layout}.")
        if jnp.iscomplexobj(a) or jnp.iscomplexobj(b):
            raise ValueError(
                f"a contains matrices of {a.dtype} and b is {b.dtype}, but both must "
                "be real. Write k complex entries as 2k real ones."
            )
    else:
        checks.same_structure("b", b, a, f"{layout}.")
    step = jax.ShapeDtypeStruct((*batch, *b.shape[len(batch) + 1 :]), b.dtype)
    h0 = jnp.zeros(step.shape, step.dtype) if h0 is None else _inexact("h0", h0)
    checks.same_structure("h0", h0, step, "h0 is one step of b: [*batch, features].")
    mask, reset = map(masks.as_flags, (mask, reset))
    checks.flags("mask", mask, batch, time, major=False)
    checks.flags("reset", reset, batch, time, major=False)
    return _recurrence(reverse, method, mesh_axis, a, b, h0, mask, reset)


def _inexact(name: str, value: Any) -> Array:
    """Returns an array of numbers that have derivatives.

    Raises:
      TypeError: if it holds integers.
    """
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(
            f"{name} must be floating point or complex, got {array.dtype}. Cast it, "
            f"such as `{name}.astype(float)`."
        )
    return array


# Compiled here: outside `jit`, every call would compile its loop again.
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _recurrence(
    reverse: bool,
    method: str,
    mesh_axis: str | None,
    a: Array,
    b: Array,
    h0: Array,
    mask: Array | None,
    reset: Array | None,
) -> Array:
    axis = b.ndim - 3 if a.ndim > b.ndim else b.ndim - 2
    dtype = jnp.result_type(a, b, h0)
    a, b = (jnp.moveaxis(leaf.astype(dtype), axis, 0) for leaf in (a, b))
    keep, reset = (
        None if flags is None else jnp.moveaxis(flags, axis, 0)
        for flags in (mask, reset)
    )
    restart = masks.restarts(reset, keep, reverse)
    ring, factors, addends = rings.split(a, b)
    if keep is not None:
        factors = where(keep, factors, ring.ones(factors))
        addends = where(keep, addends, jax.tree.map(jnp.zeros_like, addends))
        restart = restart if restart is None else restart & keep
    _, _, start = rings.split(a, h0.astype(dtype)[None])
    start = jax.tree.map(lambda leaf: leaf[0], start)

    def run(place: Place, moving: Any, start: Planes) -> Planes:
        a, b, restart = moving
        how: Any = {"reverse": reverse, "method": method, "place": place}
        return solve(ring, a, b, start, restart, **how)

    moving = (factors, addends, restart)
    hs = over(mesh_axis, addends[0].shape[0], run, moving, start)
    return jnp.moveaxis(rings.join(ring, hs, b.shape), 0, axis)
