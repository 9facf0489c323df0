"""Experiments that use jrnn. The library does not import them."""
