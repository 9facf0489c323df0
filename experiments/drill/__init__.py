"""Injects faults into training runs, row by row, and reports which checks passed."""
