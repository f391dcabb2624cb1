"""Objectives that are called as the losses of other trainers; an adapter needs the package that it is for."""

SURROGATE = "eval_loss is a surrogate; load_best_model_at_end needs a metric_for_best_model that is a metric"
