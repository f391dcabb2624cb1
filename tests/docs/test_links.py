"""No page links to a file or a heading that is not there."""

import re
from pathlib import Path

import pytest

from losses_catalog import catalog

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "generated"
PAGES = [ROOT / "README.md", ROOT / "losses_catalog" / "README.md"]
PAGES += [path for path in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in path.parts]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
PICTURE = re.compile(rf"({'|'.join(loss.name for loss in catalog)})-(pair|triplet|field|flow|small)\.png")
BLOCKS = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(markdown: str) -> set[str]:
    """The anchors of the headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", BLOCKS.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, markdown: str, generated: dict[str, str]) -> list[str]:
    """The links that lead nowhere; the pictures of losses are drawn when the pages are built."""
    found = []
    for link in LINK.findall(CODE.sub("code", markdown)):
        if "://" in link or PICTURE.fullmatch(link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        inside = FOLDER.resolve()
        made = generated.get(target.relative_to(inside).as_posix()) if target.is_relative_to(inside) else None
        if made is None and (target.is_relative_to(inside) or not target.exists()):
            found.append(link)
        elif anchor:
            text = made if made is not None else markdown if target == page else target.read_text("utf-8")
            found += [] if anchor in anchors(text) else [link]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path, generated: dict[str, str]) -> None:
    assert broken(page, page.read_text("utf-8"), generated) == []


def test_every_link_of_the_catalog_leads_somewhere(generated: dict[str, str]) -> None:
    of_losses = {path: text for path, text in generated.items() if path.startswith("catalog/")}
    assert len(of_losses) == len(catalog) + 2
    assert {path: found for path, text in of_losses.items() if (found := broken(FOLDER / path, text, generated))} == {}
    wrong = of_losses["catalog/circle.md"] + "[a](no_loss.md) ![b](circle-round.png) [c](table.md#no-heading)"
    lost = broken(FOLDER / "catalog" / "circle.md", wrong, generated)
    assert lost == ["no_loss.md", "circle-round.png", "table.md#no-heading"]


def test_broken_links_are_noticed(generated: dict[str, str]) -> None:
    text = "[a](no.md) [b](start.md#nothing) [c](start.md#take-a-loss-apart) "
    text += "[d](generated/no.md) [e](generated/api/index.md)"
    assert broken(ROOT / "docs" / "index.md", text, generated) == ["no.md", "start.md#nothing", "generated/no.md"]
