"""Optimizers that clip gradients and skip steps that are not finite."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jrnn import checks, numerics
from jrnn.types import Array, Params


class NonFiniteError(FloatingPointError):
    """Too many gradients in a row were not finite. None of them was applied."""


class ClipState(NamedTuple):
    """The state of `clip_gradients`."""

    norm: Array  # [] float32, norm of the last gradient before clipping


class SkipState(NamedTuple):
    """The state of `skip_nonfinite`."""

    inner: Any  # state of the wrapped transformation
    skipped: Array  # [] int32, steps skipped so far
    in_a_row: Array  # [] int32, steps skipped since the last finite step
    steps: Array  # [] int32, steps so far
    last: Array  # [] int32, position of the last skipped step, from 0; -1 for none


def gradient_norm(tree: Any) -> Array:
    """Returns the Euclidean norm of all leaves together, in float32 or wider.

        sqrt(sum of |leaf|^2)

    Unlike `optax.global_norm`, it does not overflow when it squares a large entry.

    Args:
      tree: Floating-point arrays, such as a gradient.

    Returns:
      A scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> float(gradient_norm({"a": jnp.full(4, 300, jnp.float16)}))
      600.0
    """
    return numerics.norm(jax.tree.map(jnp.asarray, tree)).value


def clip_gradients(max_norm: float) -> optax.GradientTransformation:
    """Clips the norm of the whole gradient to at most `max_norm` [1].

        g * min(1, max_norm / norm(g)),    norm in float32 or wider

    Unlike `optax.clip_by_global_norm`, it does not overflow, so any finite gradient
    keeps its direction. Its state contains the norm.

    Args:
      max_norm: The largest norm that is not clipped.

    Returns:
      An optax transformation. Its state holds the norm before clipping.

    Raises:
      ValueError: if `max_norm` is not positive.

    Example:
      >>> import jax.numpy as jnp
      >>> tx = clip_gradients(1.0)
      >>> clipped, state = tx.update(jnp.array([3.0, 4.0]), tx.init(None))
      >>> [round(g, 6) for g in clipped.tolist()], float(state.norm)
      ([0.6, 0.8], 5.0)

    References:
      [1] Pascanu et al., 2013, https://arxiv.org/abs/1211.5063
    """
    checks.positive("max_norm", max_norm)
    max_norm = float(max_norm)  # a number of NumPy would promote what it scales

    def init(params: Params) -> ClipState:
        del params
        return ClipState(norm=jnp.zeros((), jnp.float32))

    def update(
        updates: Params, state: ClipState, params: Params | None = None
    ) -> tuple[Params, ClipState]:
        del state, params
        norm = gradient_norm(updates).astype(jnp.float32)
        norm = jnp.minimum(norm, jnp.finfo(jnp.float32).max)  # of finite gradients
        return numerics.clip_norm(updates, max_norm), ClipState(norm)

    return optax.GradientTransformation(init, update)


def skip_nonfinite(
    tx: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Makes an optimizer skip every step whose gradient or update is not finite.

    A skipped step changes neither the parameters nor the state of `tx`. It is counted,
    and its position is recorded, so that a loop can log it. Unlike
    `optax.apply_if_finite`, it never applies such a step, no matter how many there are
    in a row. Use `raise_if_stuck` to stop the training loop.

    Args:
      tx: The optimizer to protect.

    Returns:
      A transformation whose state is a `SkipState`: `inner`, `skipped`, `in_a_row`,
      `steps` and `last`. Extra arguments of its `update` are passed to `tx`.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = skip_nonfinite(optax.sgd(0.1))
      >>> updates, state = tx.update(jnp.array([1.0, jnp.nan]), tx.init(jnp.ones(2)))
      >>> updates.tolist(), int(state.skipped)
      ([0.0, 0.0], 1)
    """
    check_optimizer(tx)
    tx = optax.with_extra_args_support(tx)

    def init(params: Params) -> SkipState:
        counts = [jnp.full((), n, jnp.int32) for n in (0, 0, 0, -1)]
        return SkipState(tx.init(params), *counts)  # each may be donated

    def update(
        updates: Params, state: SkipState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, SkipState]:
        new, inner = tx.update(updates, state.inner, params, **extra)
        good = all_finite((updates, new))
        new = jax.tree.map(lambda u: jnp.where(good, u, jnp.zeros_like(u)), new)
        inner = jax.tree.map(lambda a, b: jnp.where(good, a, b), inner, state.inner)
        bad = jnp.where(good, 0, 1)
        in_a_row = jnp.where(good, 0, state.in_a_row + 1)
        steps, last = state.steps + 1, jnp.where(good, state.last, state.steps)
        return new, SkipState(inner, state.skipped + bad, in_a_row, steps, last)

    return optax.GradientTransformationExtraArgs(init, update)


def optimizer(
    tx: optax.GradientTransformation, *, clip: float | None = 1.0
) -> optax.GradientTransformationExtraArgs:
    """Returns an optimizer that clips gradients and skips steps that are not finite.

        skip_nonfinite(optax.chain(clip_gradients(clip), tx))

    Args:
      tx: An optax optimizer, such as `optax.adam(1e-3)`.
      clip: The largest norm of the gradient; None for no clipping.

    Returns:
      An optax transformation. Its state counts the skipped steps, see `skip_nonfinite`.

    Raises:
      TypeError: If `tx` is not an optax optimizer, for example a learning rate.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = optimizer(optax.sgd(1.0))
      >>> updates, _ = tx.update(jnp.array([30.0, 40.0]), tx.init(jnp.ones(2)))
      >>> [round(u, 3) for u in updates.tolist()]
      [-0.6, -0.8]
    """
    check_optimizer(tx)
    if clip is not None:
        tx = optax.chain(clip_gradients(clip), tx)
    return skip_nonfinite(tx)


def check_optimizer(tx: Any) -> None:
    """Raises unless `tx` is an optax optimizer, and not for example a learning rate."""
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(
            f"tx must be an optax optimizer, got {tx!r}. A name, a learning rate or a "
            "function is not one: use for example `optax.adam(1e-3)`."
        )


def all_finite(tree: Any) -> Array:
    """Returns whether every entry of every leaf is finite, as a boolean scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> bool(all_finite([jnp.ones(2), jnp.array(jnp.inf)]))
      False
    """
    flags = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.array(flags)) if flags else jnp.array(True)


def raise_if_stuck(opt_state: Any, max_in_a_row: int = 10) -> None:
    """Raises if too many steps in a row were skipped. Call it outside of `jax.jit`.

    Args:
      opt_state: The state of `optimizer` or `skip_nonfinite`, or a tree that holds one.
      max_in_a_row: The largest number of skipped steps in a row that is allowed.

    Raises:
      NonFiniteError: If more steps in a row were skipped. The parameters are those of
        the last finite step.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = optimizer(optax.sgd(0.1))
      >>> raise_if_stuck(tx.init(jnp.ones(2)))
    """
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, SkipState))
    for state in leaves:
        if isinstance(state, SkipState) and int(state.in_a_row) > max_in_a_row:
            raise NonFiniteError(
                f"{int(state.in_a_row)} gradients in a row were not finite, but at "
                f"most {max_in_a_row} are allowed. None of them was applied. Lower the "
                "learning rate, or find the first value that is not finite with "
                "`jrnn.diagnostics.first_nonfinite`."
            )
