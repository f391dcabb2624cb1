"""Objectives put together from weights: any triplet weight × pair weights × mining × direction, loss or no loss."""
