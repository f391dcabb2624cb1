"""Pictures: each a function that returns its data frame, and one that draws it on given Axes."""
