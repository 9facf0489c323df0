"""A command that records what tf2onnx writes.

    python tests/interop/onnx/tf_exporter.py tests/interop/onnx/recorded

It needs `tensorflow`, `tf_keras` and `tf2onnx`; TensorFlow conflicts with other
packages, so give it an environment of its own.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tf2onnx
import tf_keras as keras

B, T, F, H = 3, 5, 2, 4


def main(folder):
    """Records one file of each kind."""
    layers, rng = keras.layers, np.random.default_rng(0)
    both = layers.Bidirectional
    stack = [both(layers.GRU(H, return_sequences=True)), both(layers.LSTM(3))]
    cases = {
        "tf_lstm": [layers.LSTM(H, return_sequences=True)],
        "tf_gru_last": [layers.GRU(H)],
        "tf_both": [*stack, layers.Dense(2)],
        "tf_rnn": [layers.SimpleRNN(H, return_sequences=True)],
    }
    for name, made in cases.items():
        model = keras.Sequential([keras.Input((T, F)), *made])
        model.set_weights(
            [0.5 * rng.standard_normal(w.shape) for w in model.get_weights()]
        )
        xs = rng.standard_normal((B, T, F)).astype("float32")
        shape = [tf.TensorSpec((None, T, F), tf.float32, name="x")]
        function = tf.function(lambda x, model=model: model(x))
        proto, _ = tf2onnx.convert.from_function(function, shape, opset=17)
        for key, array in (("xs", xs), ("ys", model(xs).numpy())):
            proto.metadata_props.add(key=key, value=json.dumps(array.tolist()))
        path = pathlib.Path(folder) / f"{name}.onnx"
        path.write_bytes(proto.SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1])
