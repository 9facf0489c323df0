"""The compiled training function: several updates per call, on one or more devices."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.errors import UserError
from experiments.run import models
from experiments.run.devices import AXIS
from experiments.run.options import Options
from experiments.run.task import Task
from jrnn import training
from jrnn.types import Array, Params, PRNGKey, State

FINAL_FRACTION = 0.01  # of the learning rate, at the end


class Learner(NamedTuple):
    """The values that training updates."""

    params: Params
    opt_state: Any
    state: State  # [batch_size, ...] carried from update to update; () for none


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


class Report(NamedTuple):
    """Averages over the updates with finite gradients; NaN if there are none."""

    loss: Array
    norm: Array  # norm of the gradient before clipping
    clipped: Array  # fraction of clipped updates
    skipped: Array  # number of skipped updates since the start of the run


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
    """Returns Adam with clipping by the norm of the gradient of the whole batch."""
    average = optax.stateless(lambda gradient, params: jax.lax.pmean(gradient, AXIS))
    chain = training.optimizer(optax.adam(rate), clip=options.clip)
    return optax.chain(average, chain)


def begin(task: Task, options: Any, model: Any, mesh: Mesh) -> Learner:
    """Returns a new learner, placed on the devices.

    Raises:
      UserError: If the sizes do not fit the cell.
    """
    places = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        _SPECS,
        is_leaf=lambda node: isinstance(node, PartitionSpec),
    )
    try:
        learner = _draw(task, options, model, jax.random.key(options.seed))
    except ValueError as error:
        raise UserError(models.unfit(options, error)) from None
    return Learner(*map(jax.device_put, learner, places))


@functools.lru_cache(maxsize=8)
def make_advance(task: Task, options: Any, model: Any, mesh: Mesh) -> Advance:
    """Returns the function that runs the updates of a block.

    It donates the memory of the learner that is passed in.

    Args:
      task: What is learned.
      options: The recipe.
      model: The model.
      mesh: The devices.
    """
    own = options.batch_size // mesh.size

    def loss(params: Params, state: State, chunk: Any, key: PRNGKey | None) -> Any:
        return task.loss(model, params, state, chunk.data, key)

    def update(i: Array, learner: Learner, block: Block, arrays: Any) -> Any:
        step = block.step + i
        rate = learning_rate(options, block.done + step * block.per_step)
        device = jax.lax.axis_index(AXIS)
        rows = device * own + jnp.arange(own)
        batch = task.batch(options, arrays, step, rows)
        chunk = training.Chunk(jax.tree.map(_one, batch), jnp.ones((1, own), bool))
        train = training.train_on_chunks(loss, optimizer(options, rate))
        key = _key(options, step, device) if task.is_random(options) else None
        *parts, losses = train(*learner, chunk, key)
        return Learner(*parts), losses[0]

    def advance(learner: Learner, block: Block, arrays: Any) -> tuple[Learner, Report]:
        def body(i: Array, carry: Any) -> Any:
            learner, sums = carry
            learner, value = update(i, learner, block, arrays)
            skip = learner.opt_state[1]
            norm = skip.inner[0].norm
            more = jnp.stack([value, norm, norm > options.clip, 1.0])
            return learner, sums + jnp.where(skip.in_a_row == 0, more, 0)

        start = learner, jnp.zeros(4)
        learner, sums = jax.lax.fori_loop(0, block.size, body, start)
        means = jax.lax.pmean(sums[:3], AXIS) / sums[3]
        skipped = learner.opt_state[1].skipped
        return learner, Report(means[0], means[1], means[2], skipped)

    split = jax.shard_map(
        advance,
        mesh=mesh,
        in_specs=(_SPECS, PartitionSpec(), PartitionSpec()),
        out_specs=(_SPECS, PartitionSpec()),
        check_vma=False,  # `optimizer` averages the gradients, once per update
    )
    return jax.jit(split, donate_argnums=0)


_SPECS = Learner(PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _draw(task: Task, options: Any, model: Any, key: PRNGKey) -> Learner:
    params = task.init(model, key)
    state = task.initial_state(options, model, params)
    return Learner(params, optimizer(options, 0.0).init(params), state)


def _one(a: Any) -> Any:
    return a[None]


def _key(options: Any, step: Array, device: Array) -> PRNGKey:
    """Returns the key of a step, which depends on the seed and the step number only."""
    key = jax.random.fold_in(jax.random.key(options.seed), step)
    return jax.random.fold_in(jax.random.fold_in(key, 1), device)
