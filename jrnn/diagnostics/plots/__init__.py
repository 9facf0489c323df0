"""Plots of the diagnostics. Needs matplotlib: `pip install jrnn[viz]`.

Every function plots the result of one diagnostic on the given axes, or on a new figure,
and returns the axes. The caller sets the title and saves the figure. The notebooks
call `plt.style.use(plots.STYLE)` first.
"""

from jrnn.diagnostics.plots.gradients import (
    gradient_by_lag as gradient_by_lag,
    gradient_norms as gradient_norms,
    gradient_terms as gradient_terms,
    jacobian_norms as jacobian_norms,
)
from jrnn.diagnostics.plots.states import (
    gate_saturation as gate_saturation,
    half_lives as half_lives,
    lyapunov as lyapunov,
    magnitudes as magnitudes,
    parallelizable as parallelizable,
)
from jrnn.diagnostics.style import COLORS as COLORS, STYLE as STYLE
