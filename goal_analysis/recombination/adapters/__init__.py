"""Objectives under the calls of other trainers' losses; an adapter is imported with the package that it is for."""

SURROGATE = (
    "eval_loss is a surrogate, whose value means nothing; load_best_model_at_end needs a metric_for_best_model that is "
    "a metric, such as an evaluator's eval_dev_cosine_accuracy"
)
