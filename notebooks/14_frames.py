# %% [markdown]
# # A sequence of frames: inputs and states that are images
#
# An element of a sequence need not be a vector. Here it is a frame of a video, and the state of the network is a stack of
# images too. You will see what a convolutional LSTM can predict and a network of single frames cannot, why it needs few
# parameters, and how it continues a clip from its own predictions. The notebook takes about a minute on two CPU cores.

# %%
try:
    import jrnn
except ImportError:  # opened alone, for example in a hosted service
    import subprocess
    import sys

    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "jrnn[viz]"])
    import jrnn

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from jrnn import training
from jrnn.diagnostics import plots

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)

# %% [markdown]
# ## A clip
#
# A square and a cross of 3 by 3 pixels move over a field of 12 by 12, one pixel per frame in each direction, and bounce
# off the borders. One clip is an array `[time, rows, columns, channels]`, with one channel: the brightness. A single frame
# shows where the shapes are. Only two frames show in which direction they move.

# %%
SIZE, STEPS = 12, 10
SHAPES = [np.ones((3, 3)), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])]


def draw_clips(seed, number):
    """Returns clips [number, STEPS + 1, SIZE, SIZE, 1] with entries 0 and 1."""
    rng = np.random.default_rng(seed)
    clips = np.zeros((number, STEPS + 1, SIZE, SIZE, 1), np.float32)
    for clip in clips:
        for shape in SHAPES:
            place, speed = rng.integers(0, SIZE - 2, 2), rng.choice([-1, 1], 2)
            for frame in clip:
                row, column = place
                part = frame[row : row + 3, column : column + 3, 0]
                np.maximum(part, shape, out=part)
                speed = np.where(
                    (place + speed < 0) | (place + speed > SIZE - 3), -speed, speed
                )
                place = place + speed
    return clips


clip = draw_clips(0, 1)[0]
fig, axes = plt.subplots(1, 6, figsize=(6.4, 1.4))
for time, ax in enumerate(axes):
    ax.imshow(clip[time, :, :, 0], cmap="gray", vmin=0, vmax=1)
    ax.set(title=f"frame {time}", xticks=[], yticks=[])
fig.suptitle("Two shapes move and bounce", fontsize=11)
plt.show()
assert clip.shape == (STEPS + 1, SIZE, SIZE, 1)

# %% [markdown]
# ## A cell over images
#
# `jrnn.ConvLSTM` is an LSTM whose matmuls are convolutions, written $*$:
#
# $$i_t = \sigma(x_t * W_{xi} + h_{t-1} * W_{hi} + b_i)$$
#
# and the same for the other gates. The state $(h, c)$ has the size of the frame, with one image for each channel. As every
# state in jrnn, it is a pytree, so `jrnn.scan`, masks, resets, gradients and truncated backpropagation through time work
# as they do for vectors.

# %%
cell = jrnn.ConvLSTM(
    hidden_size=8, kernel_size=(3, 3), spatial=(SIZE, SIZE), padding="same"
)
params = cell.init(jax.random.key(0), input_size=1)
state, ys = jrnn.scan(cell, params, None, jnp.asarray(clip[None]))
print("state  ", jax.tree.map(jnp.shape, state))
print("outputs", ys.shape, "[batch, time, rows, columns, channels]")


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


flat = jax.eval_shape(
    lambda key: jrnn.LSTM(8 * SIZE * SIZE).init(key, SIZE * SIZE), jax.random.key(0)
)
print(f"parameters: {count(params):,}, of an LSTM over all pixels: {count(flat):,}")
assert state.c.shape == (1, SIZE, SIZE, 8)
assert 1000 * count(params) < count(flat)

# %% [markdown]
# The cell shares its weights over time, as every recurrent network does, and over space as well. So it computes the same
# function at every place: if the clip is shifted by two pixels, the outputs are shifted by two pixels, except near the
# border, where they depend on the padding.

# %%
quiet = np.zeros((1, 3, SIZE, SIZE, 1), np.float32)
quiet[:, :, 4:6, 4:6] = 1
_, here = jrnn.scan(cell, params, None, jnp.asarray(quiet))
_, there = jrnn.scan(cell, params, None, jnp.asarray(np.roll(quiet, 2, axis=3)))
inner = slice(3, -3)  # three steps of two convolutions reach further at the border
moved = jnp.roll(here, 2, axis=3)
gap = jnp.abs(moved - there)[:, 0, inner, inner].max()
print(f"largest difference after shifting the clip: {gap:.1e}")
assert gap < 1e-5 and jnp.abs(here - there).max() > 0.01

# %% [markdown]
# ## Prediction of the next frame
#
# At every step the model reads a frame and returns a probability for each pixel of the next one. The output layer is the
# same linear map at each pixel. For comparison, a second model of the same size gets a reset at every step: its state is
# zero before each frame, so it sees one frame at a time. The loss of the second model stops falling early.

# %%
model = jrnn.Sequential(jrnn.Recurrent(cell), jrnn.Dense(1))


def loss(params, clips, key, memory=True):
    """Returns the mean cross entropy of a pixel, in nats."""
    del key
    frames, targets = clips[:, :-1], clips[:, 1:]
    reset = None if memory else jnp.ones(frames.shape[:2], bool)
    _, logits = model.apply(params, None, frames, reset=reset)
    return optax.sigmoid_binary_cross_entropy(logits, targets).mean()


def without_memory(params, clips, key):
    return loss(params, clips, key, memory=False)


def train(loss, steps):
    batches = (draw_clips(1000 + step, 8) for step in range(steps))
    tx = training.optimizer(optax.adam(3e-2))
    layer, dense = model.init(jax.random.key(1), input_size=1)
    params = layer, dense._replace(b=dense.b - 2.5)  # most pixels are dark
    return training.fit(loss, params, batches, tx, progress=False)


steps = 50 if FAST else 400
with_memory, single_frames = train(loss, steps), train(without_memory, steps)

# %%
held_out = jnp.asarray(draw_clips(1, 16 if FAST else 64))
score = float(jax.jit(loss)(with_memory.params, held_out, None))
score_single = float(jax.jit(without_memory)(single_frames.params, held_out, None))

fig, ax = plt.subplots()
ax.plot(single_frames.history.loss, label="a reset at every frame")
ax.plot(with_memory.history.loss, label="with memory")
ax.set(xlabel="update", ylabel="loss (nats per pixel)", yscale="log")
ax.set_title("One frame does not show the direction of a shape")
ax.legend()
plt.show()
print(f"held-out loss: single frames {score_single:.4f}, with memory {score:.4f}")
assert score < (0.8 if FAST else 0.6) * score_single

# %% [markdown]
# ## What it sees
#
# After one frame, each shape may move in four directions, so both models predict a mixture of four places. From the
# second frame on, the model with memory predicts the right direction, and the other model still predicts the mixture. In
# the picture, compare each row with the first one, which shows the true next frames.

# %%


def predict(params, memory):
    frames = held_out[:1, :-1]
    reset = None if memory else jnp.ones(frames.shape[:2], bool)
    _, logits = model.apply(params, None, frames, reset=reset)
    return jax.nn.sigmoid(logits)[0, :, :, :, 0]


rows = {
    "next frame": held_out[0, 1:, :, :, 0],
    "single frames": predict(single_frames.params, False),
    "with memory": predict(with_memory.params, True),
}
fig, axes = plt.subplots(3, 6, figsize=(6.4, 3.6))
for (name, images), line in zip(rows.items(), axes, strict=True):
    line[0].set_ylabel(name, fontsize=9)
    for time, ax in enumerate(line):
        ax.imshow(images[time], cmap="gray", vmin=0, vmax=1)
        ax.grid(False)
        ax.set(xticks=[], yticks=[])
for time, ax in enumerate(axes[0]):
    ax.set_title(f"{time + 1} frame" + "s" * (time > 0), fontsize=9)
fig.suptitle("Probability of each pixel of the next frame, by frames read", fontsize=11)
plt.show()


def error(images, time):
    return float(jnp.abs(images[time:] - rows["next frame"][time:]).mean())


assert error(rows["with memory"], 1) < (0.9 if FAST else 0.7) * error(
    rows["single frames"], 1
)

# %% [markdown]
# ## Continuing a clip
#
# A model that predicts the next frame can continue a clip: its prediction becomes the next input. The state is carried
# from call to call, so the first five frames are read once, and each further frame takes one step. This is how a language
# model writes, with images instead of words. The picture counts the wrong pixels of each predicted frame. The errors add
# up, because each prediction is the input of the next, but they stay far below those of repeating the last frame.

# %%
READ = 5


@jax.jit
def continued(params, frames, steps):
    state, logits = model.apply(params, None, frames)

    def step(carry, _):
        state, frame = carry
        state, logits = model.apply(params, state, frame[:, None])
        following = jnp.round(jax.nn.sigmoid(logits[:, 0]))
        return (state, following), following

    first = jnp.round(jax.nn.sigmoid(logits[:, -1]))
    _, rest = jax.lax.scan(step, (state, first), steps)
    return jnp.concatenate([first[None], rest])  # [time, batch, rows, columns, 1]


predicted = continued(with_memory.params, held_out[:, :READ], jnp.arange(STEPS - READ))
truth = jnp.moveaxis(held_out[:, READ:], 1, 0)
wrong = jnp.abs(predicted - truth).mean(axis=(1, 2, 3, 4)) * SIZE**2
still = jnp.abs(held_out[:, READ - 1][None] - truth).mean(axis=(1, 2, 3, 4)) * SIZE**2

fig, ax = plt.subplots()
ax.plot(
    np.arange(1, len(wrong) + 1),
    still,
    "o--",
    color="0.5",
    label="last frame, repeated",
)
ax.plot(np.arange(1, len(wrong) + 1), wrong, "o-", label="ConvLSTM")
ax.set(
    xlabel="frames after the last one that was read",
    ylabel="wrong pixels of 144",
    ylim=(0, None),
)
ax.set_title("A clip continues from its own predictions")
ax.legend()
plt.show()
assert FAST or wrong[0] < 0.3 * still[0]

# %% [markdown]
# ## What to remember
#
# * The input of a step and the state may be arrays of any rank, or trees of arrays. The scan over time stays the same.
# * A convolutional LSTM shares weights over time and space. It needs few parameters, and computes the same at every place.
# * What one frame cannot show, such as a direction, has to be in the state.
#
# Back to the start: [a tour](00_tour.ipynb). More: [the table of cells](../docs/cells.md) and
# [your own cell](../docs/your_own_cell.md).
