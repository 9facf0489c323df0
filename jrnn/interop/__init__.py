"""Moving models and weights between jrnn and everything else.

Each file stands for one other library or format and imports the package it needs, so
none of them is loaded before it is asked for: `import jrnn.interop.files`.
"""
