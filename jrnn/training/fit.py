"""A training loop for notebooks."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn import checks
from jrnn.training.optimizers import check_optimizer, gradient_norm, raise_if_stuck
from jrnn.types import Array, Params, PRNGKey

try:
    from tqdm.auto import tqdm
except ImportError:  # installed with jrnn[train]
    tqdm = None


class History(NamedTuple):
    """The record of a training run, for plots."""

    loss: np.ndarray  # float [updates]
    gradient_norm: np.ndarray  # float [updates], before clipping
    evaluated: np.ndarray  # int [evaluations], after how many updates
    scores: np.ndarray  # float [evaluations]


class Fit(NamedTuple):
    """The result of a training run."""

    params: Params  # those with the best score; the last ones if there is none
    opt_state: Any  # after the last update
    history: History


def fit(
    loss: Callable[[Params, Any, PRNGKey | None], Array],
    params: Params,
    data: Iterable[Any],
    tx: optax.GradientTransformation,
    *,
    steps: int | None = None,
    key: PRNGKey | None = None,
    evaluate: Callable[[Params], Any] | None = None,
    every: int = 100,
    patience: int | None = None,
    progress: bool = True,
) -> Fit:
    """Trains until the data or the steps are used up, or the score stops improving.

        params = params - tx(d loss(params, batch, key) / d params)

    If you interrupt it, for example with the stop button of a notebook, it stops and
    returns the results so far. Before the first update, the interrupt is raised.

    Args:
      loss: `loss(params, batch, key)` returns a scalar. It is compiled once for each
        shape of a batch, and again if the function is redefined.
      params: Parameters to start from. They are not changed.
      data: Batches, trees of arrays: an iterator such as a generator.
      tx: An optimizer, for example `jrnn.training.optimizer(optax.adam(1e-3))`, which
        clips, and skips gradients that are not finite.
      steps: The largest number of updates; None for all data.
      key: Source of randomness of the loss; None for none.
      evaluate: `evaluate(params)` returns a score, lower is better, such as the loss on
        held-out data.
      every: Updates between two evaluations. There is one after the last update too.
      patience: Stop after this many evaluations without a better score; None never.
      progress: Whether to show a progress bar, if tqdm is installed.

    Returns:
      The parameters with the best score, the last state of the optimizer, and the
      history.

    Raises:
      ValueError: if there is no batch, or an option is out of range.
      TypeError: if `tx` is not an optax optimizer, or `key` is not a key.
      jrnn.training.NonFiniteError: if too many gradients in a row were not finite.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> def loss(params, batch, key):
      ...     return jnp.mean((params * batch - 3 * batch) ** 2)
      >>> data = (jnp.ones(4) for _ in range(100))
      >>> result = fit(loss, jnp.array(0.0), data, optax.sgd(0.1), progress=False)
      >>> round(float(result.params), 3), len(result.history.loss)
      (3.0, 100)
    """
    every = checks.integer("every", every, 1)
    for name, number in (("steps", steps), ("patience", patience)):
        if number is not None:
            checks.integer(name, number, 1)
    if patience is not None and evaluate is None:
        raise ValueError(
            "patience needs evaluate: pass a function that returns a score."
        )
    check_optimizer(tx)
    checks.key("key", key)
    run = _Run(params, tx.init(params), evaluate)
    shows = progress and tqdm is not None
    with contextlib.ExitStack() as stack:
        stack.enter_context(_interruptible(run))
        run.bar = stack.enter_context(tqdm(total=steps)) if shows else None
        for number, batch in enumerate(data, 1):
            step_key = None if key is None else jax.random.fold_in(key, number)
            run.update(loss, tx, batch, step_key)
            if number % every == 0:
                run.report()
            if number == steps or (patience is not None and run.since >= patience):
                break
    if not run.losses:
        raise ValueError(
            "data contains no batch. A generator is exhausted after one run: create "
            "it again."
        )
    return run.result()


@contextlib.contextmanager
def _interruptible(run: "_Run") -> Iterator[None]:
    """Ends a block at an interrupt, unless nothing was learned so far."""
    try:
        yield
    except KeyboardInterrupt:
        if not run.losses:
            raise


class _Run:
    """What changes during a training run."""

    def __init__(
        self,
        params: Params,
        opt_state: Any,
        evaluate: Callable[[Params], Any] | None,
    ):
        self.params, self.opt_state = params, opt_state
        self.evaluate = evaluate
        self.bar: Any = None
        # The best parameters, their score, and how many evaluations ago they were.
        self.best, self.lowest, self.since = params, np.inf, 0
        self.losses: list[Array] = []  # read late: the device runs ahead
        self.norms: list[Array] = []
        self.evaluated: list[int] = []
        self.scores: list[float] = []

    def update(self, loss: Any, tx: Any, batch: Any, key: PRNGKey | None) -> None:
        self.params, self.opt_state, value, norm = _update(
            loss, tx, self.params, self.opt_state, batch, key
        )
        self.losses.append(value)
        self.norms.append(norm)
        if self.bar is not None:
            self.bar.update()

    def report(self) -> None:
        """Evaluates, unless that was done after this update, and shows the numbers."""
        raise_if_stuck(self.opt_state)
        number = len(self.losses)
        if self.evaluate is not None and number not in self.evaluated[-1:]:
            score = float(self.evaluate(self.params))
            self.since += 1
            if score < self.lowest:  # never for NaN
                self.best, self.lowest, self.since = self.params, score, 0
            self.evaluated.append(number)
            self.scores.append(score)
        if self.bar is not None:
            shown = {"loss": f"{float(self.losses[-1]):.4g}"}
            if self.scores:
                shown["score"] = f"{self.scores[-1]:.4g}"
            self.bar.set_postfix(shown)

    def result(self) -> Fit:
        self.report()
        history = History(
            np.array(jax.device_get(self.losses)),
            np.array(jax.device_get(self.norms)),
            np.array(self.evaluated, int),
            np.array(self.scores),
        )
        best = self.best if np.isfinite(self.lowest) else self.params
        return Fit(best, self.opt_state, history)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _update(
    loss: Any, tx: Any, params: Params, opt_state: Any, batch: Any, key: PRNGKey | None
) -> tuple[Params, Any, Array, Array]:
    value, gradient = jax.value_and_grad(loss)(params, batch, key)
    updates, opt_state = tx.update(gradient, opt_state, params)
    params = optax.apply_updates(params, updates)
    return params, opt_state, jnp.asarray(value), gradient_norm(gradient)
