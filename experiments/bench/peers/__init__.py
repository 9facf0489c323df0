"""The same network in each library, in its own manner and layout: one file for each.

A file for a JAX library has `build(cell, size, method)`, which returns the function
`run(params, xs) -> ys`, the parameters and the inputs. `compiled` makes of these the
call that is timed; `torch` makes its own.
"""
