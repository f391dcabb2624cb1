"""A run's folder: its record, its log and its checkpoints."""
