"""Keras 3: weights and states of its recurrent layers."""

from jrnn.interop.keras.models import from_file as from_file
from jrnn.interop.keras.weights import (
    from_weights as from_weights,
    state_from_keras as state_from_keras,
    state_to_keras as state_to_keras,
    to_weights as to_weights,
)
