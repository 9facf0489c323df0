"""The compiled training function: several updates per call, on one or more devices.

Row b of the batch starts at position b/B of the text, and continues at the beginning
when it reaches the end. The state is carried from chunk to chunk and never reset. The
position depends on the step number only, so a resumed run equals a run without
interruption.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jrnn
from experiments.char_lm.config import Train
from experiments.devices import AXIS
from jrnn import training
from jrnn.types import Array, Params, PRNGKey, State

FINAL_FRACTION = 0.01  # of the learning rate, at the end


class Learner(NamedTuple):
    """The values that training updates."""

    params: Params
    opt_state: Any
    state: State  # [batch_size, ...] of the recurrent layers, carried across chunks


class Block(NamedTuple):
    """The updates of one call: `size` updates, starting at `step`.

    The learning rate depends on the fraction of the training that is done, which is
    `done + step * per_step`. With a length in minutes, `per_step` is zero. With a
    length in steps, `done` is zero.
    """

    step: Any  # int32, updates before this call
    size: Any  # int32, updates of this call; a new value does not recompile
    position: Any  # int32, the position of the first row in the text
    done: Any  # float32
    per_step: Any  # float32


class Report(NamedTuple):
    """Averages over the updates with finite gradients; NaN if there are none."""

    loss: Array  # nats per character
    norm: Array  # norm of the gradient before clipping
    clipped: Array  # fraction of clipped updates
    skipped: Array  # number of skipped updates since the start of the run


Advance = Callable[[Learner, Block, Array], tuple[Learner, Report]]


def learning_rate(config: Train, done: Array) -> Array:
    """Returns the learning rate: a linear warmup, then a cosine decay to 1 %.

    Example:
      >>> config = Train(learning_rate=1.0, warmup=0.5)
      >>> [round(float(learning_rate(config, d)), 3) for d in (0.25, 0.5, 0.75, 1.0)]
      [0.5, 1.0, 0.505, 0.01]
    """
    rise = done / config.warmup if config.warmup else jnp.ones_like(done)
    fall = jnp.clip((done - config.warmup) / (1 - config.warmup), 0, 1)
    cosine = FINAL_FRACTION + (1 - FINAL_FRACTION) * (1 + jnp.cos(jnp.pi * fall)) / 2
    return config.learning_rate * jnp.minimum(rise, cosine)


def optimizer(config: Train, rate: Array | float) -> optax.GradientTransformation:
    """Returns Adam with clipping by the norm of the gradient of the whole batch."""
    average = optax.stateless(lambda gradient, params: jax.lax.pmean(gradient, AXIS))
    chain = training.optimizer(optax.adam(rate), clip=config.clip)
    return optax.chain(average, chain)


def begin(config: Train, model: jrnn.Sequential, mesh: Mesh) -> Learner:
    """Returns a new learner, placed on the devices."""
    places = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        _SPECS,
        is_leaf=lambda node: isinstance(node, PartitionSpec),
    )
    learner = _draw(config, model, jax.random.key(config.seed))
    return Learner(*map(jax.device_put, learner, places))


@functools.lru_cache(maxsize=8)
def make_advance(
    config: Train, model: jrnn.Sequential, mesh: Mesh, characters: int
) -> Advance:
    """Returns the function that runs the updates of a block.

    It donates the memory of the learner that is passed in.

    Args:
      config: The recipe.
      model: The model.
      mesh: The devices.
      characters: The length of the text.
    """
    rows = config.batch_size // mesh.size
    starts = np.arange(config.batch_size) * characters // config.batch_size
    offsets = jnp.asarray(starts[:, None] + np.arange(config.chunk + 1), jnp.int32)

    def loss(
        params: Params, state: State, chunk: training.Chunk, key: PRNGKey | None
    ) -> tuple[Array, State]:
        inputs, targets = chunk.data
        state, logits = model.apply(params, state, inputs, key=key)
        return training.cross_entropy(logits, targets), state

    def update(i: Array, learner: Learner, block: Block, text: Array) -> Any:
        step = block.step + i
        rate = learning_rate(config, block.done + step * block.per_step)
        device = jax.lax.axis_index(AXIS)
        own = jax.lax.dynamic_slice_in_dim(offsets, device * rows, rows)
        read = text[(own + block.position + i * config.chunk) % characters]
        mask = jnp.ones((rows, config.chunk), bool)
        chunk = training.Chunk((read[:, :-1], read[:, 1:]), mask)
        key = _key(config, step, device)
        train = training.train_on_chunks(loss, optimizer(config, rate))
        *parts, losses = train(*learner, jax.tree.map(_one, chunk), key)
        return Learner(*parts), losses[0]

    def advance(learner: Learner, block: Block, text: Array) -> tuple[Learner, Report]:
        def body(i: Array, carry: Any) -> Any:
            learner, sums = carry
            learner, value = update(i, learner, block, text)
            skip = learner.opt_state[1]
            norm = skip.inner[0].norm
            more = jnp.stack([value, norm, norm > config.clip, 1.0])
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


def position(step: int, config: Train, characters: int) -> int:
    """Returns the offset of a row after a number of steps."""
    return step * config.chunk % characters


def bits(nats: float) -> float:
    """Converts nats to bits."""
    return nats / math.log(2)


_SPECS = Learner(PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS))


@functools.partial(jax.jit, static_argnames=("config", "model"))
def _draw(config: Train, model: jrnn.Sequential, key: PRNGKey) -> Learner:
    params = model.init(key)
    state = model.initial_state(params, (config.batch_size,))
    return Learner(params, optimizer(config, 0.0).init(params), state)


def _one(a: Any) -> Any:
    return a[None]


def _key(config: Train, step: Array, device: Array) -> PRNGKey | None:
    """Returns the key of a step, which depends on the seed and the step number only."""
    if not config.dropout:
        return None
    key = jax.random.fold_in(jax.random.key(config.seed), step)
    return jax.random.fold_in(key, device)
