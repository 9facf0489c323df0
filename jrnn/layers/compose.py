"""Layers made of other layers: `Sequential` and `Residual`."""

import contextlib
from collections.abc import Iterator
from typing import Any

from jrnn import checks, masks, options
from jrnn.layers import over_time
from jrnn.layers.keys import optional_keys
from jrnn.types import Array, DType, Layer, Params, PRNGKey, Shape, State
from jrnn.values import value


@value
class Sequential:
    """A stack of layers, applied in order. Often a whole model.

        ys = layers[-1](... layers[1](layers[0](xs)))

    `init` infers the input size of each layer from the layers before it. Parameters and
    state are tuples with one entry per layer.

    Attributes:
      layers: The layers, in the order in which they are applied.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> model = jrnn.Sequential(
      ...     jrnn.Embed(7, 4),
      ...     jrnn.Recurrent(jrnn.LSTM(5)),
      ...     jrnn.Dense(7),
      ... )
      >>> params = model.init(jax.random.key(0))
      >>> state, logits = model.apply(params, None, jnp.zeros((2, 3), int))
      >>> logits.shape
      (2, 3, 7)
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer):
        for layer in layers:
            options.is_layer("a layer of Sequential", layer)
        over_time.check_order("Sequential", layers)
        object.__setattr__(self, "layers", layers)  # the dataclass is frozen

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

    @property
    def output_size(self) -> int | None:
        sizes = [layer.output_size for layer in reversed(self.layers)]
        return next((size for size in sizes if size is not None), None)

    @property
    def over_time(self) -> str:
        return over_time.joined(self.layers)

    def init(
        self, key: PRNGKey, input_size: int = 0, dtype: DType = float
    ) -> tuple[Params, ...]:
        """Draws the parameters of every layer.

        `input_size` is not needed if the first layer ignores it, as `Embed` does.
        """
        checks.at_least("number of layers", len(self.layers), 1)
        params = []
        for layer_key, layer in zip(
            checks.split_key(key, len(self.layers)), self.layers, strict=True
        ):
            params.append(layer.init(layer_key, input_size, dtype))
            input_size = layer.output_size or input_size
        return tuple(params)

    def initial_state(
        self, params: tuple[Params, ...], batch_shape: Shape = ()
    ) -> tuple[State, ...]:
        """Returns the initial state of every layer."""
        return tuple(
            layer.initial_state(p, batch_shape)
            for layer, p in zip(self.layers, params, strict=True)
        )

    def apply(
        self,
        params: tuple[Params, ...],
        state: tuple[State, ...] | None,
        xs: Any,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[State, ...], Any]:
        """Applies the layers in order.

        Layers after one that returns a single output for each sequence get no flags.
        """
        number = len(self.layers)
        checks.count("params", params, number, "one per layer, made by `init`")
        states = (None,) * number if state is None else state
        checks.count("state", states, number, "one entry per layer")
        keys = optional_keys(key, number)
        flags: Any = {"lengths": lengths, "mask": mask, "reset": reset}
        finals: list[State] = []
        reduced = False
        for layer, p, s, k in zip(self.layers, params, states, keys, strict=True):
            with _errors_name(len(finals), layer):
                if reduced:
                    final, xs = over_time.apply_without_time(layer, p, s, xs, k)
                else:
                    final, xs = layer.apply(p, s, xs, key=k, **flags)
            reduced = reduced or layer.over_time == "reduce"
            finals.append(final)
        return tuple(finals), xs


@contextlib.contextmanager
def _errors_name(index: int, layer: Layer) -> Iterator[None]:
    """Adds to an error which layer of a model raised it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        error.add_note(f"In layers[{index}] of Sequential: {layer!r}")
        raise


@value
class Residual:
    """A residual connection: adds the input of a layer to its output.

        ys = xs + layer(xs)

    Attributes:
      layer: A layer whose output has the same size as its input.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> layer = jrnn.Residual(jrnn.Recurrent(jrnn.GRU(3)))
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> state, ys = layer.apply(params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 3)

    References:
      He et al., 2016, https://arxiv.org/abs/1512.03385
    """

    layer: Layer

    def __post_init__(self) -> None:
        options.check(self)
        over_time.refuse_pair("Residual", self.layer)
        if self.over_time == "reduce":
            raise ValueError(
                f"Residual adds the input of a layer to its output, but {self.layer!r} "
                "returns one output for a whole sequence. Leave out "
                "return_sequence=False."
            )

    @property
    def output_size(self) -> int | None:
        return self.layer.output_size

    @property
    def over_time(self) -> str:
        return self.layer.over_time

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> Params:
        """Draws the parameters of the layer.

        Raises:
          ValueError: If the layer changes the number of features.
        """
        output_size = self.output_size or input_size
        checks.equal_sizes("the layer of Residual", output_size, input_size)
        return self.layer.init(key, input_size, dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the initial state of the layer."""
        return self.layer.initial_state(params, batch_shape)

    def apply(
        self,
        params: Params,
        state: State,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[State, Array]:
        """Applies the layer and adds the input.

        Raises:
          ValueError: If the shapes of output and input differ.
        """
        state, ys = self.layer.apply(
            params, state, xs, lengths=lengths, mask=mask, reset=reset, key=key
        )
        checks.same_shape("The output of the layer", ys, xs.shape, "its input")
        return state, masks.without_padding(xs, lengths, mask) + ys
