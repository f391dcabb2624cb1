"""Every reference is in the bibliography, everything in it is referred to, and docstrings say of it what it says."""

import re
from pathlib import Path
from unicodedata import normalize

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


ACCENTS = {'"': "\u0308", "'": "\u0301", "v": "\u030c"}
TEX = re.compile(r"\{\\([\"'v])\{?(\w)\}?\}")


def field(entry: str, name: str) -> str:
    """A field of an entry, without TeX."""
    found = re.search(rf"\b{name}\s*=\s*\{{(.+)\}},", entry)
    composed = TEX.sub(lambda m: normalize("NFC", m[2] + ACCENTS[m[1]]), found[1] if found else "")
    return re.sub("[{}]", "", composed)


def venue(entry: str) -> str:
    return field(entry, "booktitle") or field(entry, "journal")


def initials(first: str) -> str:
    return " ".join("-".join(f"{part[0]}." for part in name.split("-")) for name in first.split())


def citation(entry: str) -> str:
    """What a docstring says of an entry: initials and names, title, venue in short, year and address."""
    people = [name.split(", ") for name in field(entry, "author").split(" and ")]
    authors = ", ".join(f"{initials(first)} {last}" for last, first in people)
    findings, acronym = re.search(r"^(Findings of )?.*?(?:\((\w+)\)|)$", venue(entry)).groups()  # pyright: ignore[reportOptionalMemberAccess]
    short = f"{findings}{venue(entry).split()[-1]} " if findings else f"{acronym} " if acronym else ""
    return f"{authors}, {field(entry, 'title')} ({short}{field(entry, 'year')}), {field(entry, 'url')}"


INVENTED = r"""@inproceedings{munz2016npair,
  author    = {M{\"u}nz, Jos{\'e} A.-B. and van der Berg, Ida},
  title     = {Multi-class {N}-pair Loss},
  booktitle = {Advances in Neural Information Processing Systems (NIPS)},
  year      = {2016},
  url       = {https://papers.nips.cc},
}"""


def test_a_citation_has_authors_title_venue_year_and_address() -> None:
    cited = "J. A.-B. Münz, I. van der Berg, Multi-class N-pair Loss (NIPS 2016), https://papers.nips.cc"
    assert citation(INVENTED) == cited
    of_findings = re.sub("Advances.*\\(NIPS\\)", "Findings of the ACL: EMNLP", INVENTED)
    assert "(Findings of EMNLP 2016)" in citation(of_findings)
    assert "(2016)" in citation(re.sub("Advances.*\\(NIPS\\)", "arXiv preprint arXiv:1601.00001", INVENTED))


def uncited(bibliography: str) -> list[str]:
    """The losses whose docstring does not cite the entry of their first reference word for word."""
    of_key = entries(bibliography)
    sources = {loss.name: (FOLDER / f"{loss.name}.py").read_text(encoding="utf-8") for loss in catalog}
    return [
        loss.name for loss in catalog if citation(of_key[loss.reference[0]]) not in " ".join(sources[loss.name].split())
    ]


def test_a_docstring_cites_its_source_as_the_bibliography_has_it(bibliography: str) -> None:
    assert uncited(bibliography) == []
    assert uncited(bibliography.replace("Sohn, Kihyuk", "Sohn, Lihyuk")) == ["n_pair"]
    assert uncited(bibliography.replace("Multi-class {N}-pair", "Multi-class {M}-pair")) == ["n_pair"]


def misplaced(bibliography: str) -> list[str]:
    """Entries with another year than their key, without a venue in short, or with the address of another preprint."""
    found = []
    for key, entry in entries(bibliography).items():
        preprint = re.fullmatch(r"arXiv preprint arXiv:([\d.]+)", venue(entry))
        placed = field(entry, "url") == f"https://arxiv.org/abs/{preprint[1]}" if preprint else venue(entry)[-1] == ")"
        if not (placed or venue(entry).startswith("Findings")) or not re.match(rf"[a-z]+{field(entry, 'year')}", key):
            found.append(key)
    return found


def test_venues_years_and_addresses_fit(bibliography: str) -> None:
    assert misplaced(bibliography) == []
    assert misplaced(bibliography.replace("arXiv:1703.07737", "arXiv:1703.07738")) == ["hermans2017defense"]
    assert misplaced(INVENTED.replace("{2016}", "{2017}")) == ["munz2016npair"]
