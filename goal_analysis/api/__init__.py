"""The doors of `import goal_analysis` that have no single home: each takes text wherever it takes a value."""
