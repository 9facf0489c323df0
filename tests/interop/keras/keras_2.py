"""A command that records files of Keras 2, and weights of its CuDNN layers.

    python tests/interop/keras/keras_2.py tests/interop/keras/recorded

It needs `tf_keras`, the package that continues Keras 2.
"""

import pathlib
import sys

import numpy as np
import tf_keras as keras
from tf_keras.src.saving.legacy import hdf5_format

B, T, F, H = 3, 5, 2, 4


def cudnn(layer):
    """Returns the weights of a layer as those of the CuDNN layer."""
    name = "CuDNN" + type(layer).__name__
    target = type(name, (), {})()
    return hdf5_format._convert_rnn_weights(target, layer.get_weights())


def main(folder):
    """Records one file of each kind."""
    folder = pathlib.Path(folder)
    rng = np.random.default_rng(0)
    xs = rng.standard_normal((B, T, F)).astype("float32")
    hard = {"recurrent_activation": "hard_sigmoid"}
    model = keras.Sequential(
        [
            keras.Input((T, F)),
            keras.layers.Bidirectional(
                keras.layers.LSTM(3, return_sequences=True, **hard)
            ),
            keras.layers.GRU(H),
            keras.layers.Dense(2, activation="hard_sigmoid"),
        ]
    )
    model.set_weights([0.5 * rng.standard_normal(w.shape) for w in model.get_weights()])
    model.save(folder / "keras_2.h5")
    np.savez(folder / "keras_2.npz", xs=xs, ys=model(xs).numpy())
    for kind in ("LSTM", "GRU"):
        layer = getattr(keras.layers, kind)(H, return_sequences=True)
        layer.build((B, T, F))
        layer.set_weights(
            [0.5 * rng.standard_normal(w.shape) for w in layer.get_weights()]
        )
        w_x, w_h, bias = cudnn(layer)
        np.savez(
            folder / f"cudnn_{kind.lower()}.npz",
            w_x=w_x,
            w_h=w_h,
            bias=bias,
            xs=xs,
            ys=layer(xs).numpy(),
        )


if __name__ == "__main__":
    main(sys.argv[1])
