"""The engine: from scores, or embeddings, and matches to W, its products with the embeddings, and the loss.

It is pure PyTorch. `functions` says what it is told of an objective; `dense` goes through a matrix of any scores,
`small` makes the gradients of few embeddings at once, `tiled` those of many in tiles; `surrogate` chooses between them.
An exported file is cut from this source.
"""
