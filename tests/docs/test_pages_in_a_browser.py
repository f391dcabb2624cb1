"""Pages of the catalog in headless Chromium, at the widths of a phone and of a laptop."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
for needed in ("sphinx", "furo", "myst_nb"):
    pytest.importorskip(needed, reason="the pages are made with the docs extra")

from generating.catalog_pages import catalog_pages  # noqa: E402
from generating.catalog_pictures import KINDS, draw_catalog  # noqa: E402

from losses_catalog import catalog  # noqa: E402

ROOT = Path(__file__).parents[2]
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
NAMES = ("triplet", "circle", "arc_face", "dpo")
"""Of four families, with long formulas, both verdicts, and one that has no embeddings."""
WIDTHS = (480, 1280)

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="needs the programs chromium and chromedriver, Debian's chromium and chromium-driver",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of four losses with gallery and table, built; the pictures of all are those of one."""
    source, built = tmp_path_factory.mktemp("pages"), tmp_path_factory.mktemp("built")
    losses = [loss for loss in catalog if loss.name in NAMES]
    near = [{"name": "triplet", "text": "0.5 × triplet(margin=0.4)", "distance": 0.25}]
    folder = source / "generated" / "catalog"
    folder.mkdir(parents=True)
    drawn = next(loss for loss in losses if loss.name == "arc_face")
    draw_catalog(folder, [drawn])
    for loss in losses:
        if loss is not drawn:
            for kind in KINDS:
                shutil.copy(folder / f"arc_face-{kind}.png", folder / f"{loss.name}-{kind}.png")
    for path, text in catalog_pages(losses, lambda loss, others: near).items():
        (source / "generated" / path).write_text(text, "utf-8")
    (source / "index.md").write_text("# Pages\n\n```{toctree}\ngenerated/catalog/index\n```\n", "utf-8")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-c", str(ROOT / "docs"), str(source), str(built)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return built


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (
        "--headless",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as started:
        yield started


def opened(browser, site: Path, page: str, width: int = 1280):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((site / "generated" / "catalog" / f"{page}.html").as_uri())
    return browser


def overflow(browser, width: int) -> list[str]:
    """What of the text sticks out of the window to the right and does not scroll by itself."""
    script = """
        const scrolls = (one) => one.tagName !== "ARTICLE"
            && (["auto", "scroll"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
        return [...document.querySelectorAll("article *")]
            .filter((one) => one.getBoundingClientRect().right > arguments[0] + 1 && !scrolls(one.parentElement))
            .map((one) => one.tagName + " " + one.className)
    """
    wide = browser.execute_script("return document.documentElement.scrollWidth") > width
    return browser.execute_script(script, width) + ["the page"] * wide


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", [*NAMES, "index", "table"])
def test_nothing_sticks_out_and_nothing_is_asked_for(browser, site: Path, page: str, width: int) -> None:
    shown = opened(browser, site, page, width)
    assert overflow(shown, width) == []
    assert [entry for entry in shown.get_log("browser") if entry["level"] == "SEVERE"] == []
    sizes = shown.execute_script("return [...document.images].map((one) => [one.complete, one.naturalWidth > 0])")
    assert sizes or page == "table"
    assert all(complete and drawn for complete, drawn in sizes)
    asked = shown.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert all(name.startswith("file:") for name in asked)


def test_the_table_is_as_wide_as_the_text(browser, site: Path) -> None:
    shown = opened(browser, site, "table", 1280)
    wide = "const one = document.querySelector('.sorted .table-wrapper'); return one.scrollWidth - one.clientWidth"
    assert shown.execute_script(wide) <= 0
    shown.execute_script("document.querySelector('.sorted th').style.minWidth = '600px'")
    assert shown.execute_script(wide) > 0


def test_what_sticks_out_is_noticed(browser, site: Path) -> None:
    shown = opened(browser, site, "triplet", 480)
    shown.execute_script("document.querySelector('article p').style.width = '600px'")
    assert overflow(shown, 480)[0].startswith("P")


@pytest.mark.parametrize("width", WIDTHS)
def test_pictures_are_legible(browser, site: Path, width: int) -> None:
    """A picture has at least two thirds of the size that it was drawn for, as the others of its loss have; a small one
    140 pixels.
    """
    drawn = "return [...document.querySelectorAll('.pictures img')].map((one) => one.width / one.naturalWidth)"
    found = opened(browser, site, "arc_face", width).execute_script(drawn)
    assert len(found) == 4
    assert min(found) >= 0.66 * 96 / 150
    assert max(found) <= 1.15 * min(found)
    small = opened(browser, site, "index", width).execute_script(
        "return [...document.querySelectorAll('.gallery img')].map((one) => one.width)"
    )
    assert len(small) == len(NAMES)
    assert min(small) >= 140


def column(browser, selector: str = "code") -> list[str]:
    """The names, or other texts, in the rows that are shown."""
    script = """
        return [...document.querySelectorAll('.sorted tbody tr')]
            .filter((row) => !row.hidden && row.getBoundingClientRect().height)
            .map((row) => row.querySelector(arguments[0]).textContent.trim())
    """
    return browser.execute_script(script, selector)


def head(browser, name: str):
    return next(one for one in browser.find_elements("css selector", ".sorted th button") if one.text == name)


def test_the_table_sorts_by_a_click(browser, site: Path) -> None:
    shown = opened(browser, site, "table")
    before = column(shown, "a")
    assert column(shown) == ["triplet", "circle", "arc_face", "dpo"]
    head(shown, "loss").click()
    assert column(shown, "a") == sorted(before) != before
    head(shown, "loss").click()
    assert column(shown, "a") == sorted(before, reverse=True)
    head(shown, "year").click()
    years = column(shown, "td:nth-child(3)")
    assert years == sorted(years)
    assert head(shown, "year").find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    assert head(shown, "loss").find_element("xpath", "..").get_attribute("aria-sort") is None


def control(browser, name: str):
    labels = browser.find_elements("css selector", ".sorted .controls label")
    return next(one for one in labels if one.text.startswith(name)).find_element("css selector", "input, select")


def choose(browser, name: str, value: str) -> None:
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
    browser.execute_script(script, control(browser, name), value)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_filters(browser, site: Path, width: int) -> None:
    shown = opened(browser, site, "table", width)
    count = "return document.querySelector('.sorted output').textContent"
    assert shown.execute_script(count) == "4 of 4"
    control(shown, "find").send_keys("arcface margin")
    assert column(shown) == ["arc_face"]
    assert shown.execute_script(count) == "1 of 4"
    control(shown, "find").clear()
    control(shown, "find").send_keys("nothing of the kind")
    assert column(shown) == []
    choose(shown, "find", "")
    assert len(column(shown)) == 4
    choose(shown, "proxies", "no")
    assert column(shown) == ["triplet", "circle", "dpo"]
    choose(shown, "family", "triplets")
    assert column(shown) == ["triplet"]


def test_without_a_script_the_table_is_whole(site: Path) -> None:
    text = (site / "generated" / "catalog" / "table.html").read_text("utf-8")
    assert all(f'href="{name}.html"' in text for name in NAMES)


def test_search_finds_a_loss_by_what_a_library_calls_it(browser, site: Path) -> None:
    browser.get((site / "search.html").as_uri() + "?q=ArcFaceLoss")
    browser.implicitly_wait(10)
    found = browser.find_elements("css selector", "#search-results li a")
    assert found[0].text.startswith("ArcFace")
    browser.get((site / "search.html").as_uri() + "?q=NoSuchLoss")
    assert "did not match" in browser.find_element("css selector", "#search-results p").text
