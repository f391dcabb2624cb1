"""Retrieval: scores, ranks, metrics, and one query."""
