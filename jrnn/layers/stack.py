"""A stack of recurrent layers, with dropout and skip connections between them."""

from typing import Any

import jax.numpy as jnp

from jrnn import checks, options
from jrnn.layers import over_time
from jrnn.layers.dropout import Dropout
from jrnn.layers.keys import optional_keys
from jrnn.layers.recurrent import Recurrent
from jrnn.types import Array, Cell, DType, Layer, Params, PRNGKey, Shape, State
from jrnn.values import value


@value
class Stack:
    """Recurrent layers on top of each other, of equal or unequal widths.

        xs_1 = xs                                ys_n = layer_n(xs_n)
        xs_n = ys_{n-1}                          output ys_N
        xs_n = [xs, ys_{n-1}]                    output [ys_1, ..., ys_N]    with skip

    A cell is wrapped in `jrnn.Recurrent`. Dropout is applied between layers, not to the
    input or the output. With `skip`, as in Graves [1], every layer also reads the
    input, and the output concatenates the outputs of all layers, so gradients do not
    have to pass through all layers. Parameters and state are tuples with one entry per
    layer.

    Attributes:
      layers: The cells or layers, the lowest first.
      dropout: The probability of dropping a feature between two layers.
      locked: Whether all time steps of a sequence use the same dropout mask [2].
      skip: Whether there are skip connections from the input and to the output.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> stack = jrnn.Stack(jrnn.LSTM(6), jrnn.GRU(4), dropout=0.3, skip=True)
      >>> params = stack.init(jax.random.key(0), input_size=3)
      >>> state, ys = stack.apply(params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 10)

    References:
      [1] Graves, 2013, https://arxiv.org/abs/1308.0850
      [2] Gal and Ghahramani, 2016, https://arxiv.org/abs/1512.05287
    """

    layers: tuple[Layer, ...]
    dropout: float = 0.0
    locked: bool = False
    skip: bool = False

    def __init__(
        self,
        *layers: Cell | Layer,
        dropout: float = 0.0,
        locked: bool = False,
        skip: bool = False,
    ):
        made = [Recurrent(x) if isinstance(x, Cell) else x for x in layers]
        checks.at_least("number of layers", len(made), 1)
        for layer in made:
            options.is_layer("a layer of Stack", layer)
        over_time.check_order("Stack", made)
        fields = {"layers": tuple(made), "dropout": dropout, "locked": locked}
        for name, field in {**fields, "skip": skip}.items():
            object.__setattr__(self, name, field)  # the dataclass is frozen
        options.check(self)
        checks.probability("Stack.dropout", dropout)
        for layer in made if skip else ():
            over_time.refuse_pair("Stack with skip=True", layer)
        if skip and self.over_time == "reduce":
            raise ValueError(
                "Stack with skip=True needs layers that return one output per step, "
                "but one has return_sequence=False. Take the last step after the stack."
            )

    def __repr__(self) -> str:
        changed = [
            f"{name}={getattr(self, name)}"
            for name in ("dropout", "locked", "skip")
            if getattr(self, name)
        ]
        return f"Stack({', '.join([*map(repr, self.layers), *changed])})"

    @property
    def output_size(self) -> int | None:
        sizes = [layer.output_size for layer in self.layers]
        if not self.skip:
            return next((size for size in reversed(sizes) if size is not None), None)
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def over_time(self) -> str:
        return over_time.joined(self.layers)

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> tuple[Params, ...]:
        """Draws the parameters of every layer."""
        if self.skip:  # it is added below
            input_size = checks.integer("input_size", input_size, 1)
        keys = checks.split_key(key, len(self.layers))
        params, size = [], input_size
        for layer_key, layer in zip(keys, self.layers, strict=True):
            params.append(layer.init(layer_key, size, dtype))
            size = layer.output_size or size
            size += input_size if self.skip else 0
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
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[State, ...], Array]:
        """Runs the layers. Without a key nothing is dropped."""
        number = len(self.layers)
        checks.count("params", params, number, "one per layer, made by `init`")
        states = (None,) * number if state is None else state
        checks.count("state", states, number, "one entry per layer")
        keys = optional_keys(key, number)
        flags: Any = {"lengths": lengths, "mask": mask, "reset": reset}
        ys, finals, outputs, reduced = xs, [], [], False
        for n, (layer, p, s, k) in enumerate(
            zip(self.layers, params, states, keys, strict=True)
        ):
            key_drop, key_layer = optional_keys(k)
            axes = over_time.feature_axes(layer)
            drop = Dropout(self.dropout, self.locked and not reduced, axes)
            below = drop.apply((), (), ys, key=key_drop)[1] if n else ys
            if n and self.skip:
                below = jnp.concatenate([xs, below], axis=-1)
            if reduced:
                final, ys = over_time.apply_without_time(layer, p, s, below, key_layer)
            else:
                final, ys = layer.apply(p, s, below, key=key_layer, **flags)
            reduced = reduced or layer.over_time == "reduce"
            finals.append(final)
            outputs.append(ys)
        return tuple(finals), jnp.concatenate(outputs, axis=-1) if self.skip else ys
