"""What follows from an objective: its weights, whether they separate, whether they are the gradient of a loss."""
