"""Losses, weights and decompositions as SymPy expressions."""
