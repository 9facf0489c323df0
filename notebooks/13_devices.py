# %% [markdown]
# # On several devices: split the batch, or split time
#
# You will run one model on four devices: split the batch over them, sum the gradient over them, train the model as on one
# device, and split the time steps of one sequence over them. The devices are simulated on the CPU of this machine, so the
# notebook runs anywhere. The code for GPUs and TPUs is the same. The notebook takes about twenty seconds on two CPU cores.

# %%
try:
    import jrnn
except ImportError:  # opened alone, for example in a hosted service
    import subprocess
    import sys

    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "jrnn[viz]"])
    import jrnn

# %%
import jax

jax.config.update("jax_num_cpu_devices", 4)  # before anything is computed; not on GPUs

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from jrnn import training
from jrnn.diagnostics import plots

plt.style.use(plots.STYLE)
print(jax.devices())
assert len(jax.devices()) >= 4

# %% [markdown]
# ## The rows of a batch are independent
#
# A step needs the step before it, but a row of the batch needs no other row. So the batch can be split: each device gets
# a quarter of the rows, and a copy of the parameters. A *mesh* arranges the devices along axes with names, and a *sharding*
# defines which axis of an array is split over an axis of the mesh. A scan takes its sharding from the data: nothing in the
# model changes. The drawing below the code shows which device has which rows.

# %%
BATCH, TIME, FEATURES, UNITS = 16, 32, 5, 24
model = jrnn.Sequential(jrnn.Recurrent(jrnn.GRU(UNITS)), jrnn.Dense(1))
params = model.init(jax.random.key(0), FEATURES)
xs = jax.random.normal(jax.random.key(1), (BATCH, TIME, FEATURES))
targets = jnp.cumsum(xs[..., :1], axis=1) / np.sqrt(TIME)  # a sum to remember

mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
rows, everywhere = NamedSharding(mesh, P("batch")), NamedSharding(mesh, P())
split = jax.device_put((xs, targets), rows)
copied = jax.device_put(params, everywhere)

apply = jax.jit(lambda params, xs: model.apply(params, None, xs)[1])
ys_one, ys_split = apply(params, xs), apply(copied, split[0])
print("sharding of the outputs:", ys_split.sharding.spec)
assert ys_split.sharding.spec[0] == "batch"
assert jnp.allclose(ys_one, ys_split, atol=1e-6)
jax.debug.visualize_array_sharding(ys_split[:, :, 0])

# %% [markdown]
# ## The gradient is a sum over devices
#
# The parameters are shared by all rows, as they are shared by all time steps. Their gradient is a sum over both. Each
# device sums over its own rows and all of its steps, and then the devices add their four results. In the picture, each
# color is the contribution of one device to one element of the gradient. Bars above and below zero cancel, and the black
# line is the sum.


# %%
def loss(params, xs, targets):
    _, ys = model.apply(params, None, xs)
    return jnp.mean((ys - targets) ** 2)


gradient = jax.jit(jax.grad(loss))
on_one, on_four = gradient(params, xs, targets), gradient(copied, *split)

pieces = [
    gradient(params, xs[first : first + 4], targets[first : first + 4])
    for first in range(0, BATCH, 4)
]
mean = jax.tree.map(lambda *leaves: sum(leaves) / 4, *pieces)


def gap(a, b):
    gaps = jax.tree.map(lambda a, b: jnp.abs(a - jax.device_get(b)).max(), a, b)
    return float(max(jax.tree.leaves(gaps)))


print(f"one device and four:              {gap(on_one, on_four):.1e}")
print(f"one device and the mean of parts: {gap(on_one, mean):.1e}")
assert gap(on_one, on_four) < 1e-6 and gap(on_one, mean) < 1e-6

# %%
entries = np.stack([np.ravel(piece[1].w)[:10] / 4 for piece in pieces])
total = np.ravel(on_one[1].w)[:10]
fig, ax = plt.subplots()
up, down = np.zeros(10), np.zeros(10)
for device, values in enumerate(entries):
    bottom = np.where(values > 0, up, down)
    ax.bar(np.arange(10), values, bottom=bottom, label=f"device {device}")
    up, down = up + np.maximum(values, 0), down + np.minimum(values, 0)
ax.plot(np.arange(10), total, "k_", ms=18, mew=2, label="gradient on one device")
ax.set(
    xlabel="element of the weights of the output layer",
    ylabel="gradient",
    xticks=range(10),
)
ax.set_title("The contributions of four devices add up to the gradient")
ax.legend(fontsize=8, ncols=2)
plt.show()
assert np.allclose(entries.sum(axis=0), total, atol=1e-6)

# %% [markdown]
# Where is the sum computed? If the compiler places it inside the loop over time, the devices exchange arrays at every
# step. With `jax.shard_map` you choose the place: every device runs the whole loop on its rows, and one `pmean`, a mean over
# devices, follows.

# %%
part = jax.shard_map(
    lambda params, xs, targets: jax.lax.pmean(
        jax.grad(loss)(params, xs, targets), "batch"
    ),
    mesh=mesh,
    in_specs=(P(), P("batch"), P("batch")),
    out_specs=P(),
    check_vma=False,
)
summed_once = jax.jit(part)
assert gap(on_one, summed_once(copied, *split)) < 1e-6

text = summed_once.lower(copied, *split).compile().as_text()
sums = text.count(" all-reduce(") + text.count(" all-reduce-start(")
print("sums over devices in the whole program:", sums)
assert 0 < sums <= len(jax.tree.leaves(params))

# %% [markdown]
# ## Training on four devices is training on one
#
# The update is the same function as on one device. It gets split data and copied parameters, and the compiler adds the
# communication. The two loss curves differ by rounding only, so one lies on top of the other.

# %%
tx = training.optimizer(optax.adam(1e-2))


@jax.jit
def update(params, opt_state, xs, targets):
    value, grads = jax.value_and_grad(loss)(params, xs, targets)
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, value


def train(params, data, steps=40):
    opt_state, history = tx.init(params), []
    for _ in range(steps):
        params, opt_state, value = update(params, opt_state, *data)
        history.append(float(value))
    return np.array(history)


one, four = train(params, (xs, targets)), train(copied, split)
fig, ax = plt.subplots()
ax.plot(one, label="one device", lw=4, alpha=0.4)
ax.plot(four, "--", label="four devices")
ax.set(xlabel="update", ylabel="mean squared error", ylim=(0, None))
ax.set_title("The number of devices does not change the training")
ax.legend()
plt.show()
print(
    f"largest relative difference of the losses: {np.max(np.abs(one - four) / one):.1e}"
)
assert one[-1] < 0.5 * one[0] and np.allclose(one, four, rtol=1e-3)

# %% [markdown]
# ## A batch that cannot be split evenly
#
# Fourteen rows cannot be split evenly over four devices. Pad the batch with two rows and a mask that is False for them: they
# do not count in the loss, and even a NaN in them does not affect it. It is the same mask as for short sequences.

# %%
short = {"xs": xs[:14], "targets": targets[:14]}
padded = {
    name: jnp.concatenate([leaf, jnp.full((2, *leaf.shape[1:]), jnp.nan)])
    for name, leaf in short.items()
}
valid = jnp.arange(16) < 14
mask = jnp.broadcast_to(valid[:, None], (16, TIME))


def masked_loss(params, xs, targets, mask):
    _, ys = model.apply(params, None, xs, mask=mask)
    errors = jnp.where(mask, (ys - targets)[..., 0] ** 2, 0.0)
    return jnp.sum(errors) / jnp.sum(mask)


data = jax.device_put((padded["xs"], padded["targets"], mask), rows)
from_padded = jax.jit(jax.grad(masked_loss))(copied, *data)
from_short = gradient(params, short["xs"], short["targets"])
print(f"difference of the gradients: {gap(from_short, from_padded):.1e}")
assert gap(from_short, from_padded) < 1e-6

# %% [markdown]
# ## Time can be split too
#
# One long sequence has one row, so only time can be split. If the recurrence is linear in the state, many steps are one
# composed step, as [the last notebook](12_parallel_in_time.ipynb) showed. Each device composes the steps of its piece of
# time, the devices exchange one state and one factor each, and each device computes the states of its piece.
# `method=jrnn.kernels.Linear(mesh_axis=...)` does that, and `jrnn.kernels.Parallel(mesh_axis=...)` does it for cells that are
# not linear, in each iteration of Newton's method.

# %%
long = jax.random.normal(jax.random.key(2), (1, 256, FEATURES))
time_mesh = jax.make_mesh((4,), ("time",), axis_types=(AxisType.Auto,))
with jax.set_mesh(time_mesh):
    pieces = jax.device_put(long, NamedSharding(time_mesh, P(None, "time")))
    for cell, kernel in [
        (jrnn.MinGRU(UNITS), jrnn.kernels.Linear(mesh_axis="time")),
        (jrnn.ParaGRU(UNITS), jrnn.kernels.Parallel(mesh_axis="time")),
    ]:
        cell_params = cell.init(jax.random.key(3), FEATURES)
        outputs = jrnn.scan(cell, cell_params, None, pieces, method=kernel)[1]
        loop = jrnn.scan(cell, cell_params, None, long, method="scan")[1]
        difference = float(jnp.abs(jax.device_get(outputs) - loop).max())
        print(f"{cell}: {outputs.sharding.spec}, error {difference:.1e}")
        assert outputs.sharding.spec[1] == "time" and difference < 1e-4

# %% [markdown]
# This notebook measures no time. Four simulated devices on two cores cannot be four times as fast. How much faster a real
# machine is, `python -m experiments bench --peers jrnn jrnn@2` measures.
#
# ## What to remember
#
# * Rows of a batch are independent: split them over a mesh axis, copy the parameters, and change nothing else.
# * The gradient of shared parameters is a sum over devices, as it is a sum over time. Sum once, after the loop.
# * With padding and a mask, any batch can be split. A recurrence that is linear, or predictable, can be split over time too.
#
# Next: [a sequence of frames](14_frames.ipynb). More: [devices](../docs/devices.md) and
# [parallel in time](../docs/parallel.md).
