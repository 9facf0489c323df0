"""One step of a gated cell and its transpose, for kernels that loop over steps.

Arrays are rows of a batch, [B, ...], and flags are booleans [B, 1]. The functions use
only jnp, so each kind of kernel traces them on the arrays that it has read.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters import partial_eval

from jrnn.linear_maps import Matmul
from jrnn.numerics import wide
from jrnn.types import Array, Params, State


class Shared(NamedTuple):
    """What is the same for all rows and steps."""

    recurrent: Any  # the linear map
    params: Params


class Rows(NamedTuple):
    """What is the same in every step."""

    mask: Array | None  # [B, H] factor of what the map multiplies
    fresh: State | None  # [B, ...] the state after a restart


class Ahead(NamedTuple):
    """What the forward loop reads in one step."""

    u: Any  # projected input
    keep: Array | None  # [B, 1] False where the step does nothing
    restart: Array | None  # [B, 1] True where the state is replaced first


class Taped(NamedTuple):
    """What the backward loop reads in one step."""

    start: State  # before the step, after a restart
    u: Any  # projected input
    v: Array  # recurrent matmul
    p: Any  # pre-activations
    outside: list[Array | None]  # of each leaf of the state after the step, the
    # cotangent that comes from outside of the loop; None where there is none
    keep: Array | None  # [B, 1]
    restart: Array | None  # [B, 1]


class Cotangents(NamedTuple):
    """What the backward loop carries, in float32 at least."""

    state: State
    fresh: State | None  # of `Rows.fresh`


def forward(form: Any, shared: Shared, rows: Rows, state: State, step: Ahead) -> State:
    """Returns the state after a step."""
    u, keep, restart = step
    start = state if restart is None else _choose(restart, rows.fresh, state)
    h = form.hidden(start)
    v = _multiply(shared.recurrent, h if rows.mask is None else h * rows.mask)
    new = form.update(shared.params, start, form.combine(shared.params, u, v))
    return new if keep is None else _choose(keep, new, state)


def backward(
    form: Any, shared: Shared, rows: Rows, carried: Cotangents, step: Taped
) -> tuple[Cotangents, State]:
    """Propagates the cotangent of the state backward through a step.

    Returns:
      The carry for the previous step, and the cotangent of the result of `update`, with
      its dtypes. From the latter of all steps, the cotangents of parameters and inputs
      are computed at once, outside of the loop.
    """
    params = shared.params
    keep, restart = step.keep, step.restart
    leaves, structure = jax.tree.flatten(carried.state)
    after = jax.tree.unflatten(structure, map(_add, leaves, step.outside))
    zeros = jax.tree.map(jnp.zeros_like, after)
    new = after if keep is None else _choose(keep, after, zeros)
    new = jax.tree.map(lambda g, like: g.astype(like.dtype), new, step.start)
    update = functools.partial(form.update, params)
    dstart, dp = jax.vjp(update, step.start, step.p)[1](new)
    combine = functools.partial(form.combine, params, step.u)
    (dv,) = jax.vjp(combine, step.v)[1](dp)
    h, pull = jax.vjp(form.hidden, step.start)
    dh = _multiply_transposed(shared.recurrent, dv, h)
    (more,) = pull(dh if rows.mask is None else dh * rows.mask)
    before = jax.tree.map(lambda g, like: g.astype(like.dtype), dstart, after)
    before = jax.tree.map(_add, before, more)
    begun = carried.fresh
    if restart is not None:
        replaced = restart if keep is None else restart & keep
        lost = _choose(replaced, before, zeros)
        begun = jax.tree.map(jnp.add, begun, lost)
        before = _choose(restart, zeros, before)
    before = before if keep is None else _choose(keep, before, after)
    return Cotangents(before, begun), new


def read(function: Callable[..., Any], *args: Any) -> Any:
    """Returns for each leaf of the arguments whether the result depends on it."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    _, flags = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return jax.tree.unflatten(jax.tree.structure(args), flags)


class Arrays(NamedTuple):
    """What a loop reads."""

    shared: Any  # the same for all rows and steps
    rows: Any  # [B, ...] the same in every step
    carry: Any  # [B, ...] before the first step
    slices: Any  # [T, B, ...]


Body = Callable[[Any, Any, Any, Any], tuple[Any, Any]]  # one step of `Arrays`


def trim(body: Body, arrays: Arrays) -> tuple[Body, Arrays]:
    """Returns a loop that reads and computes only what its results need.

    For example, a kernel does not read the input weights: only `project` uses them.

    Returns:
      The same body for any number of rows, and the arrays, with None for leaves that
      are not read. The carry is kept.
    """
    first = jax.tree.map(lambda leaf: leaf[0], arrays.slices)
    whole = jax.eval_shape(lambda: arrays._replace(slices=first))
    carried = [part is arrays.carry for part in arrays for _ in jax.tree.leaves(part)]
    results = jax.tree.structure(jax.eval_shape(body, *whole))

    def traced(rows: int | None) -> tuple[Any, Any, list[bool]]:
        def of(leaf: Any) -> Any:
            return leaf.update(shape=(rows, *leaf.shape[1:])) if rows else leaf

        shapes = whole.shared, *jax.tree.map(of, tuple(whole[1:]))
        jaxpr = jax.make_jaxpr(body)(*shapes)
        outs = [True] * len(jaxpr.jaxpr.outvars)
        short, read = partial_eval.dce_jaxpr(jaxpr.jaxpr, outs, instantiate=carried)
        return short, jaxpr.consts, read

    def run(*trimmed: Any) -> Any:
        rows = jax.tree.leaves(trimmed[2])[0].shape[0]
        short, constants, _ = traced(rows)
        out = jaxpr_as_fun(ClosedJaxpr(short, constants))(*jax.tree.leaves(trimmed))
        return jax.tree.unflatten(results, out)

    _, _, read = traced(None)
    flags = jax.tree.unflatten(jax.tree.structure(arrays), read)
    pick = lambda leaf, flag: leaf if flag else None  # noqa: E731
    return run, jax.tree.map(pick, arrays, flags)


def _multiply(recurrent: Any, h: Array) -> Array:
    """Applies a linear map; matrix units accumulate half precision in float32."""
    if not isinstance(recurrent, Matmul) or h.dtype == jnp.float64:
        return recurrent(h)
    v = jnp.dot(h, recurrent.w, preferred_element_type=jnp.float32)
    return v.astype(jnp.result_type(h, recurrent.w))


def _multiply_transposed(recurrent: Any, dv: Array, like: Array) -> Array:
    """Applies the transpose of a linear map."""
    if not isinstance(recurrent, Matmul):
        return jax.linear_transpose(recurrent, like)(dv)[0]
    sides = (((1,), (1,)), ((), ()))  # units of matrices read either side first
    dh = jax.lax.dot_general(dv, recurrent.w, sides, preferred_element_type=wide(dv))
    return dh.astype(like.dtype)


def _add(total: Array, more: Array | None) -> Array:
    return total if more is None else total + more.astype(total.dtype)


def _choose(flags: Array, on_true: Any, on_false: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flags, a, b), on_true, on_false)
