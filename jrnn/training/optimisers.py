"""Optimiser chains that keep bad gradients away from the parameters."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jrnn import checks
from jrnn.types import Array, Params


class NonFiniteError(FloatingPointError):
    """Too many gradients in a row were not finite; no such step was applied."""


class ClipState(NamedTuple):
    """What `clip_by_global_norm` reports."""

    norm: Array  # [] float32, norm of the last gradient before clipping


class SkipState(NamedTuple):
    """What `skip_nonfinite` carries."""

    inner: Any  # state of the wrapped transformation
    skipped: Array  # [] int32, steps skipped so far
    in_a_row: Array  # [] int32, of which since the last good step


def global_norm(tree: Any) -> Array:
    """Euclidean norm of all leaves together, accumulated in float32 at least.

        sqrt(sum of |leaf|^2)

    Squares overflow from 256 on in float16 and from 2e19 on in float32; here they do
    not, as every entry is divided by the largest first.

    Example:
      >>> import jax.numpy as jnp
      >>> float(global_norm({"a": jnp.full(4, 300, jnp.float16)}))
      600.0
    """
    peak, ratio = _norm(tree)
    return peak * ratio


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformation:
    """Scales a gradient down to a norm of at most `max_norm` [1].

        g * min(1, max_norm / norm(g)),    norm in float32

    However large a finite gradient is, it keeps its direction.

    Args:
      max_norm: Largest norm that is let through.

    Returns:
      An optax transformation; its state holds the norm before clipping.

    Example:
      >>> import jax.numpy as jnp
      >>> tx = clip_by_global_norm(1.0)
      >>> clipped, state = tx.update(jnp.array([3.0, 4.0]), tx.init(None))
      >>> [round(g, 6) for g in clipped.tolist()], float(state.norm)
      ([0.6, 0.8], 5.0)

    References:
      [1] Pascanu et al., 2013, https://arxiv.org/abs/1211.5063
    """
    checks.positive("max_norm", max_norm)

    def init(params: Params) -> ClipState:
        del params
        return ClipState(norm=jnp.zeros((), jnp.float32))

    def update(
        updates: Params, state: ClipState, params: Params | None = None
    ) -> tuple[Params, ClipState]:
        del state, params
        peak, ratio = _norm(updates)
        norm = peak * ratio

        def clip(g: Array) -> Array:
            small = g.astype(_wide(g)) / peak * (max_norm / ratio)
            return jnp.where(norm > max_norm, small.astype(g.dtype), g)

        clipped = jax.tree.map(clip, updates)
        return clipped, ClipState(norm=norm.astype(jnp.float32))

    return optax.GradientTransformation(init, update)


def skip_nonfinite(
    tx: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Makes a transformation skip a step whose gradient or update is not finite.

    The parameters and the state of `tx` stay as they were, bit for bit, and the step is
    counted. A bad gradient is never applied, however many come in a row; the counts let
    the training loop stop, with `raise_if_stuck`.

    Args:
      tx: The transformation to protect: a whole optimiser.

    Returns:
      A transformation whose state is a `SkipState`; extra arguments of its `update`
      reach `tx`.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = skip_nonfinite(optax.sgd(0.1))
      >>> updates, state = tx.update(jnp.array([1.0, jnp.nan]), tx.init(jnp.ones(2)))
      >>> updates.tolist(), int(state.skipped)
      ([0.0, 0.0], 1)
    """

    tx = optax.with_extra_args_support(tx)

    def init(params: Params) -> SkipState:
        zero = jnp.zeros((), jnp.int32)
        return SkipState(tx.init(params), skipped=zero, in_a_row=zero)

    def update(
        updates: Params, state: SkipState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, SkipState]:
        new, inner = tx.update(updates, state.inner, params, **extra)
        good = all_finite((updates, new))
        new = jax.tree.map(lambda u: jnp.where(good, u, jnp.zeros_like(u)), new)
        inner = jax.tree.map(lambda a, b: jnp.where(good, a, b), inner, state.inner)
        bad = jnp.where(good, 0, 1)
        in_a_row = jnp.where(good, 0, state.in_a_row + 1)
        return new, SkipState(inner, state.skipped + bad, in_a_row)

    return optax.GradientTransformationExtraArgs(init, update)


def optimiser(
    tx: optax.GradientTransformation | optax.ScalarOrSchedule,
    *,
    clip: float | None = 1.0,
) -> optax.GradientTransformationExtraArgs:
    """Returns the chain that recurrent training wants: clip, step, skip bad steps.

        skip_nonfinite(chain(clip_by_global_norm(clip), tx))

    Args:
      tx: An optax optimiser; a learning rate or schedule stands for Adam.
      clip: Largest norm of the gradient; None for no clipping.

    Returns:
      An optax transformation whose state is a `SkipState`.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = optimiser(optax.sgd(1.0))
      >>> updates, _ = tx.update(jnp.array([30.0, 40.0]), tx.init(jnp.ones(2)))
      >>> [round(u, 3) for u in updates.tolist()]
      [-0.6, -0.8]
    """
    if not isinstance(tx, optax.GradientTransformation):
        tx = optax.adam(tx)
    if clip is not None:
        tx = optax.chain(clip_by_global_norm(clip), tx)
    return skip_nonfinite(tx)


def all_finite(tree: Any) -> Array:
    """Whether every entry of every leaf is finite, as a boolean scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> bool(all_finite([jnp.ones(2), jnp.array(jnp.inf)]))
      False
    """
    flags = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.array(flags)) if flags else jnp.array(True)


def raise_if_stuck(opt_state: Any, max_in_a_row: int = 10) -> None:
    """Stops a training loop whose gradients stay bad; call it outside of `jit`.

    Args:
      opt_state: State of an optimiser that holds a `SkipState` somewhere.
      max_in_a_row: How many skipped steps in a row are borne.

    Raises:
      NonFiniteError: if more steps in a row were skipped. The parameters are those of
        the last good step.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = optimiser(optax.sgd(0.1))
      >>> raise_if_stuck(tx.init(jnp.ones(2)))
    """
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, SkipState))
    for state in leaves:
        if isinstance(state, SkipState) and int(state.in_a_row) > max_in_a_row:
            raise NonFiniteError(
                f"{int(state.in_a_row)} gradients in a row were not finite, more than "
                f"the {max_in_a_row} that are borne. None was applied. Lower the "
                "learning rate or look for the first bad step with jrnn.diagnostics."
            )


def _norm(tree: Any) -> tuple[Array, Array]:
    """Returns the largest size of an entry, and the norm as a multiple of it."""
    sizes = [jnp.abs(leaf.astype(_wide(leaf))) for leaf in jax.tree.leaves(tree)]
    zero = jnp.zeros(())
    peaks = [jnp.max(size, initial=0) for size in sizes]
    peak = functools.reduce(jnp.maximum, peaks, zero)
    peak = jnp.where(jnp.isfinite(peak) & (peak > 0), peak, 1)
    squares = [jnp.sum(jnp.square(size / peak)) for size in sizes]
    return peak, jnp.sqrt(sum(squares, zero))


def _wide(leaf: Array) -> Any:
    return jnp.promote_types(leaf.dtype, jnp.float32)
