"""Breaks training runs on purpose, row by row of a scoreboard, and prints what held."""
