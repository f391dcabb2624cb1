"""Discovery: a search in the space of objectives itself, which ends in a comparison over fresh seeds."""
