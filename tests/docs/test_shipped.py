"""The page of losses as they are shipped says what is measured now."""

import re
from importlib.metadata import PackageNotFoundError, version

import pytest
from generating.shipped_page import PAGE, SHIPPED, Shipped, section, source

MEASURED_AGAIN = ("torch.nn:CosineEmbeddingLoss",)
"""The others take longer: `python docs/generating/shipped_page.py` writes them all."""


def numbers_apart(text: str) -> tuple[str, list[float]]:
    """The words, and the numbers, which differ in their last digit from one machine to the next."""
    number = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
    return re.sub(number, "#", text), [float(found) for found in re.findall(number, text)]


def same(one: str, other: str) -> bool:
    (words, numbers), (other_words, other_numbers) = numbers_apart(one), numbers_apart(other)
    return words == other_words and numbers == pytest.approx(other_numbers, rel=0.02, abs=1e-3)


def on_page(shipped: Shipped) -> str:
    text = PAGE.read_text("utf-8").split(f"### {shipped.title}\n")[1]
    return f"### {shipped.title}\n" + re.split(r"\n##", text)[0].rstrip() + "\n"


def test_every_section_is_of_a_loss_that_the_command_measures() -> None:
    sections = re.findall(r"^### (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sections == [shipped.title for shipped in SHIPPED]
    assert len({shipped.library for shipped in SHIPPED}) == 4


@pytest.mark.parametrize("name", MEASURED_AGAIN)
def test_a_section_is_what_is_measured(name: str) -> None:
    shipped = next(one for one in SHIPPED if one.name == name)
    try:
        if version("torch").partition("+")[0] not in PAGE.read_text("utf-8"):
            pytest.skip(f"the page is of another edition than {source('torch')}")
    except PackageNotFoundError:
        pytest.skip("torch is not installed as a package")
    measured = section(shipped)
    assert same(measured, on_page(shipped))
    assert not same(measured.replace("pulls", "pushes"), on_page(shipped))
