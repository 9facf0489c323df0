"""One interface for every gradient method: `value_and_grad` and `train_along`."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from jrnn.training.gradients.methods import BPTT, Method, check_method
from jrnn.training.gradients.rewrite import as_layer
from jrnn.training.gradients.windows import Loss, padded, windowed
from jrnn.training.optimizers import check_optimizer
from jrnn.training.tbptt import train_on_chunks, truncated_value_and_grad
from jrnn.types import Array, Cell, Layer, Params, PRNGKey, State


def value_and_grad(
    model: Cell | Layer,
    loss: Loss,
    method: Method | None = None,
    *,
    batch_axes: int = 1,
) -> Callable[..., tuple[tuple[Array, State], Params]]:
    """Returns a function that computes a loss over sequences and its gradient.

    The method decides how the gradient is computed. The value is the same for every
    method, the mean over all valid steps:

        sum over steps of loss / number of valid steps

    Args:
      model: A layer, or a cell, which is wrapped in `jrnn.Recurrent`.
      loss: `loss(ys, targets, mask)` returns the mean over the valid steps of a window,
        or zero if no step is valid, as the losses of `jrnn.training` do. The mask may
        be None.
      method: `BPTT()`, the default, `TBPTT(k1, k2)`, `ARTBP(p)`, `RTRL()`, `SnAp1()` or
        `EProp()`.
      batch_axes: The number of batch axes of the sequences.

    Returns:
      A function `(params, state, xs, targets, *, lengths=None, mask=None, reset=None,
      key=None)` that returns `((value, state), gradient)`. The caller compiles it with
      `jax.jit`. `state=None` means the initial state. The returned state continues the
      sequence; with an online method, it also holds the traces.

    Raises:
      ValueError: If the method does not apply to the model. The message says why.
      TypeError: If the method is not an instance of a gradient method.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> from jrnn.training import TBPTT, squared_error, value_and_grad
      >>> model = jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(4)), jrnn.Dense(1))
      >>> params = model.init(jax.random.key(0), input_size=3)
      >>> gradient = value_and_grad(model, squared_error, TBPTT(2, 3))
      >>> xs, targets = jnp.ones((2, 5, 3)), jnp.ones((2, 5, 1))
      >>> (value, state), grads = gradient(params, None, xs, targets)
      >>> jax.tree.structure(grads) == jax.tree.structure(params)
      True
    """
    chosen = BPTT() if method is None else method
    check_method(chosen, "`BPTT()` or `TBPTT(35)`")
    layer = as_layer(model)

    def gradient(
        params: Params,
        state: State | None,
        xs: Any,
        targets: Any,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[Array, State], Params]:
        # Padding at the end is known only from lengths, and some kernels need that.
        flags: Any = {"lengths": lengths, "mask": mask, "reset": reset}
        xs, valid = padded(xs, lengths, mask, batch_axes)
        new = chosen.rewrite(layer, params, key)
        if chosen.window is None:

            def whole(params: Params) -> tuple[Array, State]:
                final, ys = new.apply(params, state, xs, key=key, **flags)
                return loss(ys, targets, valid), final

            return jax.value_and_grad(whole, has_aux=True)(params)
        problem = (xs, targets, valid, reset)
        pieces = windowed(
            new,
            loss,
            chosen.window,
            batch_axes,
            params,
            state,
            problem,
            mean_of_all=True,
        )
        (value, (_, final)), grads = truncated_value_and_grad(pieces.loss)(
            params, pieces.states, pieces.chunks, key
        )
        return (value, final), grads

    return gradient


def train_along(
    model: Cell | Layer,
    loss: Loss,
    tx: optax.GradientTransformation,
    method: Method,
    *,
    batch_axes: int = 1,
) -> Callable[..., tuple[Params, Any, State, Array]]:
    """Returns a function that updates the parameters many times along a sequence.

    There is one update every `k1` steps with `TBPTT(k1, k2)`, and every `every` steps
    with an online method. The state, and the traces of an online method, were computed
    with older parameters.

    Args:
      model: A layer, or a cell, which is wrapped in `jrnn.Recurrent`.
      loss: As in `value_and_grad`; each update uses the mean over its own steps.
      tx: An optax optimizer.
      method: A method with a `window`.
      batch_axes: The number of batch axes of the sequences.

    Returns:
      A function `(params, opt_state, state, xs, targets, *, lengths=None, mask=None,
      reset=None, key=None)` that returns `(params, opt_state, state, losses)` with one
      loss per update. The caller compiles it with `jax.jit`.

    Raises:
      ValueError: If the method does not apply to the model. The message says why.
      TypeError: If the method is not an instance of a gradient method, or the optimizer
        is not one of optax.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn, optax
      >>> from jrnn.training import RTRL, squared_error, train_along
      >>> cell, tx = jrnn.IndRNN(4), optax.sgd(0.1)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> train = train_along(cell, squared_error, tx, RTRL(every=2))
      >>> xs, targets = jnp.ones((2, 5, 3)), jnp.ones((2, 5, 4))
      >>> params, _, state, losses = train(params, tx.init(params), None, xs, targets)
      >>> losses.shape
      (3,)
    """
    check_optimizer(tx)
    check_method(method, "`RTRL()` or `TBPTT(35)`")
    layer = as_layer(model)
    if method.window is None:
        raise ValueError(
            f"{method} has one gradient for a whole sequence, so it cannot update "
            "along the sequence. Apply the gradient of `value_and_grad` to `tx`."
        )

    def train(
        params: Params,
        opt_state: Any,
        state: State | None,
        xs: Any,
        targets: Any,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[Params, Any, State, Array]:
        xs, mask = padded(xs, lengths, mask, batch_axes)
        window = method.window or (1, 1)
        new = method.rewrite(layer, params, key)
        problem = (xs, targets, mask, reset)
        pieces = windowed(
            new, loss, window, batch_axes, params, state, problem, mean_of_all=False
        )
        params, opt_state, (_, final), losses = train_on_chunks(pieces.loss, tx)(
            params, opt_state, pieces.states, pieces.chunks, key
        )
        return params, opt_state, final, losses

    return train
