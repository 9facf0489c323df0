"""Diagnostics: measure gradients, states and gates through time.

Every function takes a cell, its parameters, a state and inputs, as `jrnn.scan` does,
and returns arrays. All but `describe` and `parallelizable` work under `jax.jit` with a
static cell, and they are faster there. `jrnn.diagnostics.plots` plots the results; it
needs matplotlib.
"""

from jrnn.diagnostics.gates import (
    Saturation as Saturation,
    gate_saturation as gate_saturation,
    gates as gates,
    half_life as half_life,
)
from jrnn.diagnostics.gradients import (
    gradient_by_lag as gradient_by_lag,
    gradient_terms as gradient_terms,
)
from jrnn.diagnostics.jacobians import (
    jacobian_norms as jacobian_norms,
    jacobian_product as jacobian_product,
    state_jacobians as state_jacobians,
)
from jrnn.diagnostics.lyapunov import (
    Lyapunov as Lyapunov,
    lyapunov_spectrum as lyapunov_spectrum,
    memory_horizon as memory_horizon,
)
from jrnn.diagnostics.nonfinite import (
    NonFinite as NonFinite,
    describe as describe,
    first_nonfinite as first_nonfinite,
)
from jrnn.diagnostics.parallel import (
    Parallelizable as Parallelizable,
    parallel_info as parallel_info,
    parallelizable as parallelizable,
)
from jrnn.diagnostics.structure import check_structure as check_structure
from jrnn.diagnostics.taps import (
    Tapped as Tapped,
    TappedParams as TappedParams,
    TappedState as TappedState,
    tapped_norms as tapped_norms,
)
