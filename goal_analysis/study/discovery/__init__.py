"""Discovery: a search in the space of objectives, and a comparison of the best over fresh seeds."""
