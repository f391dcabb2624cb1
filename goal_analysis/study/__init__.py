"""Many runs: objectives compared over seeds."""

OBJECTIVE = "objective"
TRAINING = ("learning_rate", "weight_decay", "captions_per_image", "text_text", "image_image", "epochs")
TUNED = (OBJECTIVE, *TRAINING)
"""What is tuned of every objective alike: its own scales, and these options of the training."""
