"""The engine, in pure PyTorch: from scores, or embeddings, and matches to W, its products, and the loss.

`functions` says what it is told of an objective, `surrogate` chooses a way. An exported file is cut from this source.
"""
