"""Notebooks that teach jrnn; the percent scripts are the source."""
