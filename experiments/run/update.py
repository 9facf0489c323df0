"""The compiled training function: several updates per call, on one or more devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

from experiments.errors import UserError
from experiments.run import models
from experiments.run.devices import AXIS
from experiments.run.options import Options
from experiments.run.task import Task
from jrnn import training
from jrnn.training import batches
from jrnn.training.batches import BatchSplit
from jrnn.types import Array, Params, PRNGKey, State

FINAL_FRACTION = 0.01  # of the learning rate, at the end


class Learner(NamedTuple):
    """The values that training updates."""

    params: Params
    opt_state: Any
    state: State  # [rows, ...] carried from update to update; () for none


class Block(NamedTuple):
    """The updates of one call: `size` updates, starting at `step`.

    The learning rate depends on the fraction of the training that is done, which is
    `done + step * per_step`. With a length in minutes, `per_step` is zero. With a
    length in steps, `done` is zero.
    """

    step: Any  # int32, updates before this call
    size: Any  # int32, updates of this call; a new value does not recompile
    done: Any  # float32
    per_step: Any  # float32
    seed: Any  # uint32, of the run; a new value does not recompile


class Window(NamedTuple):
    """The batches of some steps, of data that does not fit in memory."""

    first: Any  # int32, the first step
    batches: Any  # a tree of arrays [steps, batch_size, ...]


class Report(NamedTuple):
    """Averages over the updates with finite gradients; NaN if there are none."""

    loss: Array
    norm: Array  # norm of the gradient before clipping
    clipped: Array  # fraction of clipped updates
    skipped: Array  # number of skipped updates since the start of the run
    which: Array  # int32, bit i is set if update i of this call was skipped


Advance = Callable[[Learner, Block, Any], tuple[Learner, Report]]


def learning_rate(options: Options, done: Array) -> Array:
    """Returns the learning rate: a linear warmup, then a cosine decay to 1 %.

    Example:
      >>> options = Options(learning_rate=1.0, warmup=0.5)
      >>> [round(float(learning_rate(options, d)), 3) for d in (0.25, 0.5, 0.75, 1.0)]
      [0.5, 1.0, 0.505, 0.01]
    """
    rise = done / options.warmup if options.warmup else jnp.ones_like(done)
    fall = jnp.clip((done - options.warmup) / (1 - options.warmup), 0, 1)
    cosine = FINAL_FRACTION + (1 - FINAL_FRACTION) * (1 + jnp.cos(jnp.pi * fall)) / 2
    return options.learning_rate * jnp.minimum(rise, cosine)


def optimizer(options: Options, rate: Array | float) -> optax.GradientTransformation:
    """Returns Adam with clipping, which skips gradients that are not finite."""
    return training.optimizer(optax.adam(rate), clip=options.clip)


def begin(
    task: Task, options: Any, model: Any, split: BatchSplit, seed: int
) -> Learner:
    """Returns a new learner, placed on the devices.

    Raises:
      UserError: If a size does not fit the cell.
    """
    try:
        learner = _draw(task, options, model, jax.random.key(seed))
    except ValueError as error:
        raise UserError(models.unfit(options, error)) from None
    return place(learner, split)


def place(learner: Learner, split: BatchSplit) -> Learner:
    """Places a learner with a state [batch_size, ...] on the devices."""
    own = jax.tree.map(lambda leaf: np.asarray(leaf)[split.own], learner.state)
    return Learner(
        params=batches.replicate(learner.params, split.mesh),
        opt_state=batches.replicate(learner.opt_state, split.mesh),
        state=split.place(own)[0],
    )


@functools.lru_cache(maxsize=8)
def make_advance(
    task: Task, options: Any, model: Any, split: BatchSplit, many: bool = False
) -> Advance:
    """Returns the function that runs the updates of a block.

    It donates the memory of the learner that is passed in. With `many`, learners,
    seeds and reports have a first axis, and all of them are computed at once.

    Args:
      task: What is learned.
      options: The recipe.
      model: The model.
      split: Which device computes which rows.
      many: Whether several learners advance at once, each with its seed.
    """
    rows_per_device = split.rows // split.mesh.size
    full, rest = divmod(split.batch_size, rows_per_device)

    def gradient(
        number: int, learner: Learner, arrays: Any, step: Array, seed: Array
    ) -> Any:
        """Returns weighted sums of a number of rows, and the state after them."""
        given = dataclasses.replace(options, seed=seed)
        device = jax.lax.axis_index(AXIS)
        rows = device * rows_per_device + jnp.arange(number)
        batch = _batch(task, given, arrays, step, rows)
        state = jax.tree.map(lambda leaf: leaf[:number], learner.state)
        key = _key(given, step, device) if task.is_random(options) else None

        def loss(params: Params) -> Any:
            return task.loss(model, params, state, batch, key)

        (value, new), slope = jax.value_and_grad(loss, has_aux=True)(learner.params)
        weight = jnp.asarray(task.weight(batch), value.dtype)
        sums = jax.tree.map(lambda leaf: leaf * weight.astype(leaf.dtype), slope)
        return (weight, weight * value, sums), jax.tree.map(_put, learner.state, new)

    def nothing(learner: Learner, arrays: Any, step: Array, seed: Array) -> Any:
        """Returns the same for a device that has no rows."""
        given = learner, arrays, step, seed
        like = jax.eval_shape(lambda *a: gradient(1, *a), *given)
        return jax.tree.map(jnp.zeros_like, like[0]), learner.state

    def update(i: Array, learner: Learner, block: Block, arrays: Any) -> Any:
        step = block.step + i
        every = functools.partial(gradient, rows_per_device)
        branches = [every, functools.partial(gradient, rest) if rest else nothing]
        if full == split.mesh.size:  # the batch divides
            sums, state = every(learner, arrays, step, block.seed)
        else:
            after = jax.lax.axis_index(AXIS) - full
            kind = jnp.clip(after + 1, 0, 2)
            branches.append(nothing)
            given = learner, arrays, step, block.seed
            sums, state = jax.lax.switch(kind, branches, *given)
        weight, value, slope = jax.lax.psum(sums, AXIS)
        mean = jax.tree.map(lambda leaf: leaf / weight.astype(leaf.dtype), slope)
        tx = optimizer(options, learning_rate(options, _done(block, step)))
        changes, opt_state = tx.update(mean, learner.opt_state, learner.params)
        params = optax.apply_updates(learner.params, changes)
        return Learner(params, opt_state, state), value / weight

    def advance(learner: Learner, block: Block, arrays: Any) -> tuple[Learner, Report]:
        def body(i: Array, carry: Any) -> Any:
            learner, sums, which = carry
            learner, value = update(i, learner, block, arrays)
            skip = learner.opt_state
            bad = skip.in_a_row > 0
            norm = skip.inner[0].norm
            more = jnp.stack([value, norm, norm > options.clip, 1.0])
            which |= jnp.where(bad, jnp.left_shift(1, i), 0)
            return learner, sums + jnp.where(bad, 0, more), which

        start = learner, jnp.zeros(4), jnp.int32(0)
        learner, sums, which = jax.lax.fori_loop(0, block.size, body, start)
        # Without updates, in the call that compiles, there is no NaN for `debug_nans`.
        loss, norm, clipped = sums[:3] / jnp.where(block.size > 0, sums[3], 1)
        skipped = learner.opt_state.skipped
        return learner, Report(loss, norm, clipped, skipped, which)

    specs = _MANY if many else _SPECS
    axes = (0, Block(None, None, None, None, seed=0), None)
    spread = jax.shard_map(
        jax.vmap(advance, axes) if many else advance,
        mesh=split.mesh,
        in_specs=(specs, PartitionSpec(), PartitionSpec()),
        out_specs=(specs, PartitionSpec()),
        check_vma=False,  # gradients are added over the devices, once per update
    )
    return jax.jit(spread, donate_argnums=0)


_SPECS = Learner(PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS))
_MANY = _SPECS._replace(state=PartitionSpec(None, AXIS))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _draw(task: Task, options: Any, model: Any, key: PRNGKey) -> Learner:
    params = task.init(model, key)
    state = task.initial_state(options, model, params)
    return Learner(params, optimizer(options, 0.0).init(params), state)


def _put(old: Array, new: Array) -> Array:
    """Returns a state whose first rows are new, if they are finite."""
    kept = old[: len(new)]
    if jnp.issubdtype(new.dtype, jnp.inexact):
        new = jnp.where(jnp.isfinite(new), new, kept)
    return jax.lax.dynamic_update_slice_in_dim(old, new, 0, axis=0)


def _done(block: Block, step: Array) -> Array:
    return block.done + step * block.per_step


def _batch(task: Task, options: Any, arrays: Any, step: Array, rows: Array) -> Any:
    """Returns rows of the batch of a step, from all data or from what was read."""
    if not isinstance(arrays, Window):
        return task.batch(options, arrays, step, rows)
    place = step - arrays.first
    return jax.tree.map(lambda leaf: leaf[place, rows], arrays.batches)


def _key(options: Any, step: Array, device: Array) -> PRNGKey:
    """Returns the key of a step, which depends on the seed and the step number only."""
    key = jax.random.fold_in(jax.random.key(options.seed), step)
    return jax.random.fold_in(jax.random.fold_in(key, 1), device)
