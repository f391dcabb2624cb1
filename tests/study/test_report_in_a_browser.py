"""The report in headless Chromium: it is drawn without an error or a request, and its sliders move the surfaces."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from goal_analysis.study.report import report
from goal_analysis.vse.data.split import RetrievalData

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
PATIENCE = 120

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="needs the programs chromium and chromedriver, Debian's chromium and chromium-driver",
)


@pytest.fixture(scope="module")
def address(runs: Path, objective_of, picture_data: RetrievalData, tmp_path_factory: pytest.TempPathFactory) -> str:
    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(report([runs], objective_of, lambda experiment: picture_data, queries=2), "utf-8")
    return page.as_uri()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (
        "--headless",
        "--disable-gpu",
        "--window-size=1200,900",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as browser:
        yield browser


@pytest.fixture(scope="module")
def drawn(started, address: str):
    """The browser with the page, all charts drawn."""
    started.get("about:blank")
    started.get_log("performance")  # what the browser's own first page asked for
    started.get(address)
    WebDriverWait(started, PATIENCE).until(
        lambda browser: browser.execute_script("return document.documentElement.dataset.drawn") == "all"
    )
    return started


def test_nothing_goes_wrong_and_nothing_is_asked_for(drawn, address: str) -> None:
    assert drawn.get_log("browser") == []
    assert drawn.title == "Report: hinge/constant, nca(tau=4)/linear", "no caption has run"
    assert drawn.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)") == []
    events = [json.loads(entry["message"])["message"] for entry in drawn.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {address}


def test_the_page_forbids_what_it_does_not_hold(drawn) -> None:
    """The negative control: a script and a request that got in are stopped, and the browser says so."""
    violated = drawn.execute_async_script(
        """
        const [done] = arguments;
        const seen = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          seen.push(event.effectiveDirective);
          if (seen.length === 2) done(seen.sort());
        });
        const script = document.createElement("script");
        script.textContent = "document.title = 'taken'";
        document.body.append(script);
        new Image().src = "https://example.org/x.png";
        """
    )
    assert violated == ["img-src", "script-src-elem"]
    assert "taken" not in drawn.title


def weights(browser) -> list:
    """w⁺ and w⁻ as the last objective's chart draws them."""
    return browser.execute_script(
        "return [...document.querySelectorAll('.chart')].at(-1).data.map((t) => t.z && t.z[5])"
    )


def test_a_slider_moves_the_surface_by_mouse(drawn) -> None:
    before = weights(drawn)
    rail = drawn.find_elements("css selector", ".chart .slider-rail-touch-rect")[-1]
    drawn.execute_script("arguments[0].scrollIntoView({block: 'center'})", rail)
    actions = webdriver.ActionChains(drawn)
    actions.move_to_element_with_offset(rail, rail.size["width"] // 3, 0).click().perform()
    WebDriverWait(drawn, PATIENCE).until(lambda browser: weights(browser) != before)
    assert drawn.execute_script("return [...document.querySelectorAll('.chart')].at(-1).layout.sliders[0].active") > 4


def test_a_slider_moves_the_surface_by_keys(drawn) -> None:
    slider = drawn.find_elements("css selector", ".chart [role=slider]")[-1]
    drawn.execute_script("arguments[0].focus()", slider)
    seen = []
    for key in (Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.END):
        drawn.switch_to.active_element.send_keys(key)
        slider = drawn.find_elements("css selector", ".chart [role=slider]")[-1]
        seen.append((slider.get_attribute("aria-valuenow"), str(weights(drawn))))
    assert [value for value, _ in seen] == ["1", "1.41", "2", "1.41", "16"]
    assert seen[1] == seen[3]
    assert len(set(seen)) == 4


def test_pictures_are_shown(drawn) -> None:
    widths = drawn.execute_script("return [...document.images].map((one) => one.complete && one.naturalWidth)")
    assert widths == [16] * (2 * 2 * (1 + 5)), "of two runs, two images, and five images of two captions each"


def colours(browser) -> tuple[str, str]:
    script = """
        const text = document.querySelector(".chart .xtick text");
        return [getComputedStyle(document.body).backgroundColor, getComputedStyle(text).fill]
    """
    return tuple(browser.execute_script(script))


def test_charts_follow_the_theme(drawn) -> None:
    light = colours(drawn)
    drawn.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    dark = colours(drawn)
    assert light == ("rgb(255, 255, 255)", "rgb(28, 29, 32)")
    assert dark == ("rgb(23, 24, 27)", "rgb(231, 231, 234)")
    drawn.find_element("id", "theme").click()
    assert colours(drawn) == light
    drawn.find_element("id", "theme").click()
    assert colours(drawn) == dark
    drawn.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_phone_scrolls_down_alone(drawn) -> None:
    size = {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    drawn.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    charts = "return [...document.querySelectorAll('.chart')].map((chart) => chart._fullLayout.width)"
    WebDriverWait(drawn, PATIENCE).until(lambda browser: max(browser.execute_script(charts)) <= 380)
    assert drawn.execute_script("return document.documentElement.scrollWidth") <= 380
    drawn.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_printing_opens_what_is_closed(drawn) -> None:
    count = "return document.querySelectorAll('details:not([open])').length"
    closed = drawn.execute_script(count)
    assert closed > 0
    assert drawn.execute_script(f"dispatchEvent(new Event('beforeprint')); {count}") == 0
    assert drawn.execute_script(f"dispatchEvent(new Event('afterprint')); {count}") == closed
