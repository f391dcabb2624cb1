"""Training: experiments, options, batches, steps and health."""
