"""Keras models, and a command that records their files.

    python -m tests.interop.keras.saved tests/interop/keras/recorded

Each model is recorded as `.keras`, which contains a `.weights.h5`, and one as the older
`.h5`, with inputs and outputs in an `.npz` file beside them. It needs `keras` with the
backend "jax".
"""

import os
import pathlib
import sys

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")

B, T, F = 3, 5, 2


def models():
    """Returns models and their inputs by name."""
    import keras  # noqa: PLC0415  optional
    from keras import layers as ls  # noqa: PLC0415

    rng = np.random.default_rng(0)
    xs = rng.standard_normal((B, T, F)).astype("float32")
    hard = {"recurrent_activation": "hard_sigmoid", "activation": "leaky_relu"}
    tagger = [
        ls.Embedding(7, 3),
        ls.SpatialDropout1D(0.2),
        ls.RNN([ls.LSTMCell(4, dropout=0.1), ls.GRUCell(3)], return_sequences=True),
        ls.LayerNormalization(),
        ls.TimeDistributed(ls.Dense(6, activation="gelu")),
        ls.Dropout(0.5),
        ls.Dense(2, activation="softmax", name="tags"),
    ]
    stack = [
        ls.Bidirectional(ls.GRU(4, return_sequences=True)),
        ls.LSTM(5, name="summary"),
        ls.Dense(2),
    ]
    first = ls.Input((T, F))
    inner = keras.Sequential([ls.SimpleRNN(3, return_sequences=True), ls.Dense(4)])
    nested = ls.GRU(4, reset_after=False, **hard)(inner(first))
    last = ls.Dense(2, use_bias=False, activation="hard_sigmoid")
    made = {
        "stack": (keras.Sequential([ls.Input((T, F)), *stack]), xs),
        "tagger": (
            keras.Sequential([ls.Input((T,)), *tagger]),
            rng.integers(0, 7, (B, T)),
        ),
        "functional": (keras.Model(first, last(nested)), xs),
    }
    for model, _ in made.values():  # no weight is zero
        shapes = [w.shape for w in model.get_weights()]
        model.set_weights([0.5 * rng.standard_normal(s) for s in shapes])
    return made


def main(folder):
    """Records all models."""
    folder = pathlib.Path(folder)
    for name, (model, xs) in models().items():
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", xs=xs, ys=np.asarray(model(xs)))
        if name == "stack":
            model.save(folder / "stack.h5")


if __name__ == "__main__":
    main(sys.argv[1])
