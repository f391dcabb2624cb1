"""The text that exported files are put together from: ordinary functions, read as source and never run in there.

A statement ``if FLAG:`` on one of the flags of `settled` is decided when a file is written, and only the chosen branch
is in it; names such as `triplets` stand for the one function that the objective needs.
"""
