"""Experiments that use jrnn; nothing in the library imports them."""
