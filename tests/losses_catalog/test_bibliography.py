"""Every reference is in the bibliography, and everything in the bibliography is referred to."""

import re
from pathlib import Path

import pytest

import losses_catalog
from losses_catalog import catalog, pair_weights, triplet_weights
from losses_catalog.table import BEGIN, END

FOLDER = Path(losses_catalog.__file__).parent
FIELDS = ("author", "title", "year", "url")


def entries(bibliography: str) -> dict[str, str]:
    """The entries of a bibliography by key."""
    return {re.match(r"@\w+\{(\w+),", e)[1]: e for e in re.split(r"\n(?=@)", bibliography.strip())}  # pyright: ignore[reportOptionalSubscript]


def cited() -> set[str]:
    """The keys that the values refer to."""
    return {key for value in (*catalog, *triplet_weights, *pair_weights) for key in value.reference}


def background(readme: str, keys: set[str]) -> set[str]:
    """The keys that a README names outside of its generated tables."""
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    return keys & set(re.findall(r"\w+", f"{before} {after}"))


def incomplete(bibliography: str) -> list[str]:
    """What entries lack, such as ``key: url``."""
    return [
        f"{key}: {field}"
        for key, entry in entries(bibliography).items()
        for field in FIELDS
        if not re.search(rf"\b{field}\s*=\s*\{{.+\}},", entry)
    ]


@pytest.fixture
def bibliography() -> str:
    return (FOLDER / "references.bib").read_text(encoding="utf-8")


@pytest.fixture
def readme() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_value_names_its_source() -> None:
    assert [v.name for v in (*catalog, *triplet_weights, *pair_weights) if not v.reference] == []


def test_every_reference_is_in_the_bibliography(bibliography: str) -> None:
    assert cited() - entries(bibliography).keys() == set()


def test_every_entry_is_referred_to(bibliography: str, readme: str) -> None:
    keys = set(entries(bibliography))
    assert keys - cited() - background(readme, keys) == set()


def test_an_entry_that_nothing_refers_to_is_found(bibliography: str, readme: str) -> None:
    keys = set(entries(bibliography + "\n@article{euler1744methodus,\n}\n"))
    assert keys - cited() - background(readme, keys) == {"euler1744methodus"}


def test_a_key_in_the_tables_alone_is_no_background(readme: str) -> None:
    assert background(readme, {"faghri2018vsepp", "cakir2019fastap"}) == {"cakir2019fastap"}


def test_entries_are_complete_and_in_order(bibliography: str) -> None:
    assert incomplete(bibliography) == []
    keys = re.findall(r"^@\w+\{(\w+),", bibliography, re.MULTILINE)
    assert keys == sorted(set(keys))


def test_an_incomplete_entry_is_found() -> None:
    entry = "@article{euler1744methodus,\n  author = {Euler, Leonhard},\n  year = {1744},\n}\n"
    assert incomplete(entry) == ["euler1744methodus: title", "euler1744methodus: url"]


def test_the_docstring_links_to_the_source(bibliography: str) -> None:
    for loss in catalog:
        url = re.search(r"url\s*=\s*\{(.+)\}", entries(bibliography)[loss.reference[0]])
        source = (FOLDER / f"{loss.name}.py").read_text(encoding="utf-8")
        assert url is not None, loss.name
        assert url[1] in source
