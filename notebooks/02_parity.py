# %% [markdown]
# # Parity: the numbers of Keras and PyTorch
#
# You will compute the `SimpleRNN` examples of Keras and the `nn.RNN` example of PyTorch from the lecture notes with jrnn.
# The shapes are those of Keras. The values are those that PyTorch prints, up to the rounding of float32. The notebook
# takes about ten seconds on two CPU cores.

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
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jrnn.diagnostics import plots

plt.style.use(plots.STYLE)

# %% [markdown]
# ## Keras: the last output, all outputs, the state
#
# The input is `[B, N, I]` = `[32, 10, 8]`: 32 sequences of 10 elements with 8 features each. The layer has $O = 4$ units,
# so the output of each step has 4 values, and so has the state. `scheme="keras"` draws the parameters as Keras does.
#
# | Keras | jrnn |
# |---|---|
# | `SimpleRNN(4)(inputs)` | `jrnn.scan(cell, params, None, inputs, return_sequence=False)[1]` |
# | `SimpleRNN(4, return_sequences=True)(inputs)` | `jrnn.scan(cell, params, None, inputs)[1]` |
# | the same with `return_state=True` | `state, ys = jrnn.scan(cell, params, None, inputs)` |
#
# In jrnn, the state is always returned. It is the first result.

# %%
inputs = jax.random.normal(jax.random.key(0), (32, 10, 8))
cell = jrnn.Elman(4, scheme="keras")
params = cell.init(jax.random.key(1), input_size=8)

_, last_outputs = jrnn.scan(cell, params, None, inputs, return_sequence=False)
last_state, whole_outputs = jrnn.scan(cell, params, None, inputs)
print("last outputs ", last_outputs.shape)
print("whole outputs", whole_outputs.shape)
print("last state   ", last_state.h.shape)
assert last_outputs.shape == (32, 4)
assert whole_outputs.shape == (32, 10, 4)
assert last_state.h.shape == (32, 4)

# %% [markdown]
# In a simple recurrent network, the memory *is* the output: $C_t \equiv h_t$. So the last output, the last step of all
# outputs and the last state are equal. The picture shows the outputs of one sequence, one column for each step, and frames
# the last one. The state of an LSTM contains more than its output: it has the memory $c$ as well.

# %%
fig, ax = plt.subplots(figsize=(6.4, 2.4))
image = ax.imshow(whole_outputs[0].T, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
ax.add_patch(plt.Rectangle((8.5, -0.5), 1, 4, fill=False, lw=3, clip_on=False))
ax.grid(visible=False)
ax.set_xticks(range(10), [f"$h_{{{t}}}$" for t in range(1, 11)])
ax.set_yticks(range(4), range(1, 5))
ax.set(xlabel="time step of one sequence", ylabel="unit")
ax.set_title("The last column (framed) is the last output and the last state")
fig.colorbar(image, ax=ax, label="value")
plt.show()

assert (last_outputs == whole_outputs[:, -1]).all()
assert (last_state.h == whole_outputs[:, -1]).all()
lstm = jrnn.LSTM(4, scheme="keras")
lstm_state, lstm_ys = jrnn.scan(lstm, lstm.init(jax.random.key(1), 8), None, inputs)
assert (lstm_state.h == lstm_ys[:, -1]).all()
assert abs(lstm_state.c - lstm_ys[:, -1]).max() > 0.1

# %% [markdown]
# The simple recurrent network has three arrays: $W_x$ `[8, 4]`, $W_h$ `[4, 4]` and the bias `[4]`. Their sizes do not
# depend on the number of steps, so the same parameters read a sequence of 3 or 300 elements.

# %%
count = sum(leaf.size for leaf in jax.tree.leaves(params))
print("parameters", count)
assert count == 8 * 4 + 4 * 4 + 4
for steps in (3, 300):
    _, ys = jrnn.scan(cell, params, None, jnp.ones((1, steps, 8)))
    assert ys.shape == (1, steps, 4)

# %% [markdown]
# ## PyTorch: every printed number
#
# The notes run `nn.RNN(5, 2)` on the rows `[1]*5`, `[2]*5`, `[3]*5` after `torch.manual_seed(1)`. The arrays below are the
# weights that PyTorch draws, and the numbers that the notes print. PyTorch computes
#
# $$h_t = \tanh(x_t W_{xh}^\top + b_{xh} + h_{t-1} W_{hh}^\top + b_{hh}).$$
#
# With `separate_biases=True`, the cell has the two biases of PyTorch. The matrices of jrnn are the transposes.

# %%
w_xh = np.array(
    [
        [0.3643461, -0.31210154, -0.13708077, 0.33189395, -0.6656964],
        [0.42406413, -0.14546975, 0.35973623, 0.09829985, -0.08658109],
    ],
    np.float32,
)
w_hh = np.array([[0.19612378, 0.03488284], [0.2582553, -0.27556023]], np.float32)
b_xh = np.array([-0.051554278, -0.06365894], np.float32)
b_hh = np.array([0.10249085, -0.002824766], np.float32)

printed_hidden = np.array(
    [[-0.4701929, 0.5863904], [-0.88883156, 1.2364397], [-1.3074701, 1.886489]],
    np.float32,
)
printed_output = np.array(
    [[-0.3519801, 0.52525216], [-0.68424344, 0.76074266], [-0.8649416, 0.90466356]],
    np.float32,
)

torch_cell = jrnn.Elman(2, separate_biases=True)
torch_params = jrnn.cells.ElmanParams(
    w_x=jnp.asarray(w_xh.T),
    w_h=jnp.asarray(w_hh.T),
    b_x=jnp.asarray(b_xh),
    b_h=jnp.asarray(b_hh),
)
sequence = jnp.array([[1.0] * 5, [2.0] * 5, [3.0] * 5])
_, outputs = jrnn.scan(torch_cell, torch_params, None, sequence)

# The notes print x W_xh + b_xh as "Hidden". `project` computes it for all steps.
one_bias = jrnn.Elman(2)
(hidden,) = one_bias.project(torch_params._replace(b_h=None), sequence)

for t in range(3):
    print(f"Time step {t} =>")
    print("   Input           :", np.asarray(sequence[t : t + 1]))
    print("   Hidden          :", np.asarray(hidden[t : t + 1]))
    print("   Output (jrnn)   :", np.asarray(outputs[t : t + 1]))
    print("   printed         :", printed_output[t : t + 1])

# %% [markdown]
# A float32 number has about seven significant digits, and print shows up to eight. The last digit depends on the order in
# which a sum is computed and on how tanh is rounded, so it may differ between machines, between versions of one library,
# and here. The picture counts the difference in *units in the last place*: the distance between a float32 number and the
# next one. No bar is higher than two units, which is less than three parts in ten million.

# %%


def last_places(values, printed):
    """The difference in steps from one float32 number to the next."""
    return np.abs(np.asarray(values) - printed) / np.spacing(np.abs(printed))


fig, ax = plt.subplots(figsize=(6.4, 2.8))
found = {
    "hidden": last_places(hidden, printed_hidden),
    "output": last_places(outputs, printed_output),
}
for shift, (name, values) in zip((-0.15, 0.15), found.items(), strict=True):
    ax.bar(np.arange(6) + shift, values.ravel(), 0.3, label=name)
ax.set_xticks(range(6), [f"step {t}\nunit {u}" for t in range(3) for u in (1, 2)])
ax.set_yticks([0, 1, 2])
ax.set(ylabel="units in the last place", ylim=(0, 3), xlabel="value in the notes")
ax.set_title("jrnn and the printed numbers differ by rounding only")
ax.legend(ncols=2)
plt.show()

assert max(values.max() for values in found.values()) <= 2

# %% [markdown]
# The comparison can fail. Without the transpose of $W_{hh}$, or without one of the two biases, the outputs are different.

# %%
without_bias = torch_params._replace(b_h=jnp.zeros(2))
without_transpose = torch_params._replace(w_h=jnp.asarray(w_hh))
for wrong in (without_bias, without_transpose):
    _, ys = jrnn.scan(torch_cell, wrong, None, sequence)
    assert last_places(ys, printed_output).max() > 1000

# %% [markdown]
# ## What to remember
#
# * Sequences are `[B, N, I]`; all outputs are `[B, N, O]`; the last output and the state are `[B, O]`.
# * In a simple recurrent network, the state is the last output. In an LSTM, it contains the memory $c$ as well.
# * The same weights give the same numbers in PyTorch and jrnn, up to the last digit of float32.
#
# Next: [other recurrences](03_recurrences.ipynb). More: [code of PyTorch, Keras, Flax and Haiku in
# jrnn](../docs/coming_from.md).
