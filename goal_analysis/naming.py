"""Names of files and folders."""

from __future__ import annotations

import re


def folder_name(name: str) -> str:
    """A name as one that files and folders can have.

    >>> folder_name("nca(tau=12)/linear@softmax:12")
    'nca_tau=12_linear_softmax_12'
    """
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", name)
