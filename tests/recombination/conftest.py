"""What every test of this floor gets: float64, and the same random numbers each time."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def float64_and_a_fixed_seed() -> Iterator[None]:
    """Compute in float64 unless a test says otherwise, from the same random state."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
