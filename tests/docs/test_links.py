"""No page links to a file or a heading that is not there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "losses_catalog" / "README.md"]
PAGES += [path for path in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in path.parts]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
BLOCKS = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(markdown: str) -> set[str]:
    """The anchors of the headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", BLOCKS.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, markdown: str, generated: dict[str, str]) -> list[str]:
    """The links that lead nowhere."""
    found = []
    for link in LINK.findall(CODE.sub("code", markdown)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        inside = (ROOT / "docs" / "generated").resolve()
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


def test_broken_links_are_noticed(generated: dict[str, str]) -> None:
    text = "[a](no.md) [b](start.md#nothing) [c](start.md#take-a-loss-apart) "
    text += "[d](generated/no.md) [e](generated/api/index.md)"
    assert broken(ROOT / "docs" / "index.md", text, generated) == ["no.md", "start.md#nothing", "generated/no.md"]
