"""The order in which each library concatenates the gates of a cell."""

import jax.numpy as jnp

from jrnn.types import Array

# In the letters of `LSTM` and `GRU`. Keras calls the candidates g and n c and h.
GATE_ORDERS = {
    "jrnn": {"lstm": "ifgo", "gru": "rzn"},
    "torch": {"lstm": "ifgo", "gru": "rzn"},
    "flax": {"lstm": "ifgo", "gru": "rzn"},
    "equinox": {"lstm": "ifgo", "gru": "rzn"},
    "keras": {"lstm": "ifgo", "gru": "zrn"},
    "haiku": {"lstm": "igfo", "gru": "zrn"},
    "onnx": {"lstm": "iofg", "gru": "zrn"},
}


def reorder(a: Array, cell: str, source: str, target: str, axis: int = -1) -> Array:
    """Moves the gates of an array from one library's order to another's.

    Args:
      a: Gates concatenated along `axis`.
      cell: "lstm" or "gru". Other cells have no gates to move.
      source: The library whose order `a` has.
      target: The library whose order the result has.
      axis: The axis of the gates.

    Raises:
      ValueError: if the axis does not consist of one block per gate.

    Example:
      >>> import jax.numpy as jnp
      >>> reorder(jnp.array([1, 2, 3, 4]), "lstm", "jrnn", "onnx").tolist()  # i f g o
      [1, 4, 2, 3]
    """
    if cell not in GATE_ORDERS[source]:
        return a
    old, new = GATE_ORDERS[source][cell], GATE_ORDERS[target][cell]
    if a.ndim == 0 or a.shape[axis] % len(old):
        raise ValueError(
            f"The weights of a {cell} must hold {len(old)} equal blocks along axis "
            f"{axis}, one per gate, got shape {list(a.shape)}. Pass the weights of a "
            f"{cell}."
        )
    blocks = jnp.split(a, len(old), axis)
    return jnp.concatenate([blocks[old.index(gate)] for gate in new], axis)
