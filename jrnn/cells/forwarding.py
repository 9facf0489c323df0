"""What cells made of a cell pass on to it; gated where it is gated."""

from typing import Any, ClassVar

from jrnn.types import Array, Cell, GatedCell, Params, PRNGKey, Shape, State, Structure


class Forwarding:
    """The methods of a cell, those of the cell within.

    Subclasses are dataclasses with a field `cell`. One with a form for gated cells, a
    subclass of `Gated`, is built in that form where the cell is gated.
    """

    cell: Cell
    forms: ClassVar[tuple[type, type] | None] = None  # ungated, gated

    def __new__(cls, cell: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Returns the form that suits the cell, of whichever form is asked for."""
        if cls.forms is None or cell is None:  # as when unpickling
            return super().__new__(cls)
        plain, gated = cls.forms
        if isinstance(cell, GatedCell):
            return super().__new__(gated if cls is plain else cls)
        # Not an instance of the gated form, so Python leaves its `__init__` to us.
        return plain(cell, *args, **kwargs) if cls is gated else super().__new__(cls)

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def feature_axes(self) -> int:
        return self.cell.feature_axes

    @property
    def structure(self) -> Structure:
        return self.cell.structure

    def within(self, params: Params) -> Params:
        """Returns the parameters of the cell within."""
        return params

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the initial state of the cell."""
        return self.cell.initial_state(self.within(params), batch_shape)

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Prepares the parameters of the cell."""
        return self.cell.prepare(params, key=key, batch_shape=batch_shape)

    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the input with the cell."""
        return self.cell.project(self.within(params), x, key=key)

    def step(self, params: Params, state: State, u: Any) -> State:
        """Returns the next state of the cell."""
        return self.cell.step(self.within(params), state, u)

    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(self.within(params), state, u)


class Gated(Forwarding):
    """The further methods of a gated cell, for the gated form of `of`.

    The form prints and is replaced as the class that users know.
    """

    cell: Any

    def __init_subclass__(cls, of: Any) -> None:
        """Makes the class the gated form of another."""
        cls.__name__ = of.__name__
        of.forms = of, cls

    def hidden(self, state: State) -> Array:
        """Returns what is multiplied."""
        return self.cell.hidden(state)

    def recurrent_kernel(self, params: Params) -> Array:
        """Returns the matrix that multiplies it."""
        return self.cell.recurrent_kernel(self.within(params))

    def combine(self, params: Params, u: Any, v: Array) -> Any:
        """Returns the pre-activations."""
        return self.cell.combine(self.within(params), u, v)

    def update(self, params: Params, state: State, p: Any) -> State:
        """Returns the next state."""
        return self.cell.update(self.within(params), state, p)
