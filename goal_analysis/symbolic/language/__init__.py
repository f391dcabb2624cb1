"""The words of losses and objectives: primitives, hyperparameters, aggregators, similarities."""
