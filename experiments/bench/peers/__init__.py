"""The same network in each library, in its own style and layout, one file each.

A file for a JAX library has `build(cell, size, method)`, which returns the function
`run(params, xs) -> ys`, the parameters and the inputs. `compiled` builds the call that
is timed from these. `torch` builds its own call.
"""
