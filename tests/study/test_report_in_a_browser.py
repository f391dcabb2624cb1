"""The pages in headless Chromium: drawn without an error or a request; what they compute is what the engine does."""

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import goal_analysis as ga
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.pictures.style import CONTOURS, DECADES, PEAK, scale_of
from goal_analysis.pictures.weight_frames import weights_of, with_columns
from goal_analysis.study.report import explore, report
from goal_analysis.vse.data.split import RetrievalData

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
from selenium.common.exceptions import TimeoutException  # noqa: E402
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


def opened(browser, address: str):
    """The browser with a page, all charts drawn."""
    browser.get(address)
    WebDriverWait(browser, PATIENCE).until(
        lambda browser: browser.execute_script("return document.documentElement.dataset.drawn") == "all"
    )
    return browser


@pytest.fixture(scope="module")
def drawn(started, address: str):
    """The browser with the report."""
    started.get("about:blank")
    started.get_log("performance")  # what the browser's own first page asked for
    return opened(started, address)


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
        "return [...document.querySelectorAll('.chart')].at(-1).data.slice(0, 4).map((t) => t.z && t.z[5])"
    )


def test_a_slider_moves_the_surface_by_mouse(drawn) -> None:
    before = weights(drawn)
    rail = drawn.find_elements("css selector", ".slider input[type=range]")[-1]
    drawn.execute_script("arguments[0].scrollIntoView({block: 'center'})", rail)
    actions = webdriver.ActionChains(drawn)
    actions.move_to_element_with_offset(rail, rail.size["width"] // 3, 0).click().perform()
    WebDriverWait(drawn, PATIENCE).until(lambda browser: weights(browser) != before)
    number = drawn.find_elements("css selector", ".slider input[type=number]")[-1]
    assert 4 < float(number.get_attribute("value")) < 16


def test_a_slider_moves_the_surface_by_keys(drawn) -> None:
    slider = drawn.find_elements("css selector", ".slider input[type=range]")[-1]
    drawn.execute_script("arguments[0].focus()", slider)
    seen = []
    for key in (Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.END):
        before = weights(drawn)
        drawn.switch_to.active_element.send_keys(key)
        WebDriverWait(drawn, PATIENCE).until(lambda browser, before=before: weights(browser) != before)
        seen.append((slider.get_attribute("aria-valuetext"), str(weights(drawn))))
    assert [value for value, _ in seen] == ["1", "1.01", "1", "16"]
    assert seen[0] == seen[2]
    assert len(set(seen)) == 3


def test_pictures_are_shown(drawn) -> None:
    widths = drawn.execute_script("return [...document.images].map((one) => one.complete && one.naturalWidth)")
    assert set(widths) == {16}
    assert len(widths) >= 2 * 2 * (1 + 5), "of two runs, two images, and five images of two captions each at least"


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


@pytest.mark.parametrize("width", [1280, 1920])
def test_no_table_scrolls_on_a_desk(drawn, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    drawn.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = (
        "return [...document.querySelectorAll('.scroller')].filter((one) => one.scrollWidth > one.clientWidth).length"
    )
    assert drawn.execute_script(wide) == 0
    drawn.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


READ = """
    const shared = (a, b, from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
    const found = [];
    for (const chart of document.querySelectorAll(".chart")) {
        const texts = [...chart.querySelectorAll("text")].filter((one) => one.textContent.trim());
        const boxes = texts.map((one) => [one.textContent, one.getBoundingClientRect()]);
        for (const [i, [one, a]] of boxes.entries())
            for (const [other, b] of boxes.slice(i + 1))
                if (shared(a, b, "left", "right") > 2 && shared(a, b, "top", "bottom") > 3) found.push([one, other]);
    }
    return found;
"""
"""Texts of charts that lie on one another."""


def settled(browser, width: str) -> None:
    """Wait until all charts are that wide, and as high as the drawing in them."""
    script = f"""
        return charts.every((one) => one._fullLayout.width === {width}
            && one.querySelector(".main-svg").clientHeight === one._fullLayout.height)
    """
    WebDriverWait(browser, PATIENCE).until(lambda browser: browser.execute_script(script))
    browser.execute_async_script("setTimeout(arguments[0], 300)")


def overlaps(browser) -> list:
    """Texts that lie on one another once the page is drawn, which takes a while on a busy machine."""
    with suppress(TimeoutException):
        WebDriverWait(browser, 20).until(lambda browser: browser.execute_script(READ) == [])
    return browser.execute_script(READ)


@pytest.mark.parametrize("width", [400, 700, 800, 940, 1280, 1920])
def test_no_text_of_a_chart_lies_on_another(drawn, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    drawn.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    settled(drawn, "one.parentElement.clientWidth")
    assert overlaps(drawn) == []
    drawn.execute_script("dispatchEvent(new Event('beforeprint'))")
    settled(drawn, "PAPER")
    assert overlaps(drawn) == []
    drawn.execute_script("dispatchEvent(new Event('afterprint'))")
    drawn.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_texts_that_lie_on_one_another_are_noticed(drawn) -> None:
    drawn.execute_script("arrange(charts.at(-1), 310)")
    drawn.execute_script("Plotly.relayout(charts.at(-1), { ...charts.at(-1).spec.places[0].layout, width: 400 })")
    assert drawn.execute_script(READ) != []
    drawn.execute_script("arrange(charts.at(-1))")


def test_the_legend_stands_below_its_curves(drawn) -> None:
    """Between the words below the lowest panel and the legend is less than two lines."""
    room = """
        const titles = [...document.querySelector(".chart").querySelectorAll("[class^=x][class$=title]")];
        const bottom = Math.max(...titles.map((one) => one.getBoundingClientRect().bottom));
        return document.querySelector(".chart .legend").getBoundingClientRect().top - bottom;
    """
    for width in (400, 1280):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        drawn.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        WebDriverWait(drawn, PATIENCE).until(lambda browser: 0 <= browser.execute_script(room) < 40)
    drawn.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_printing_opens_what_is_closed(drawn) -> None:
    count = "return document.querySelectorAll('details:not([open])').length"
    closed = drawn.execute_script(count)
    assert closed > 0
    assert drawn.execute_script(f"dispatchEvent(new Event('beforeprint')); {count}") == 0
    assert drawn.execute_script(f"dispatchEvent(new Event('afterprint')); {count}") == closed


# --- what the page computes -----------------------------------------------------------------------

EXPLORED = ("circle", "nca/linear@softmax:12", "triplet_squared_euclidean", "arc_face")


@pytest.fixture(scope="module")
def exploring(started, drawn, tmp_path_factory: pytest.TempPathFactory):
    """The browser with a page to explore, after everything that reads the report."""
    folder = tmp_path_factory.mktemp("explore")
    x = np.random.default_rng(0).normal(size=(2, 40, 6)).astype(np.float32)
    np.save(folder / "batch.npy", x)
    (folder / "explore.html").write_text(explore(EXPLORED, ga.objective, [folder / "batch.npy"]), "utf-8")
    return opened(started, (folder / "explore.html").as_uri()), x


def test_the_page_computes_what_the_engine_does(exploring) -> None:
    """At other settings than the objective's own, and over the whole grid."""
    browser, _ = exploring
    for number, text in enumerate(EXPLORED):
        names, places, found = browser.execute_script(
            """
            const { live } = [...document.querySelectorAll(".chart")][arguments[0]].spec;
            const settings = live.sliders.map((one) => (one.value + one.high) / 2);
            const [across, up] = [0, 1].map((side) => centres(live.grid, live.grid.off[side]));
            const places = up.flatMap((s) => across.map((r) => [r, s]));
            const columns = [0, 1].map((side) => places.map((one) => one[side]));
            const found = evaluate(live.program, [...columns, ...settings]).slice(0, 2);
            const all = found.map((one) => (typeof one === "number" ? places.map(() => one) : [...one]));
            return [Object.fromEntries(live.sliders.map((one, i) => [one.name, settings[i]])), columns, all];
            """,
            number,
        )
        field = ga.describe(ga.objective(text).objective.with_settings(names)).weights
        at = pd.DataFrame({"s_p": places[0], "s_n": places[1]})
        weights = weights_of(field)
        expected = with_columns(at, {name: weights[name] for name in ("w_p", "w_n")})
        for name, values in zip(("w_p", "w_n"), found, strict=True):
            scale = expected[name].abs().max()
            np.testing.assert_allclose(values, expected[name], rtol=1e-11, atol=1e-13 * scale, err_msg=text)


@pytest.mark.parametrize("signed", [False, True])
def test_the_page_has_the_scale_of_the_pictures(exploring, signed: bool) -> None:
    browser, _ = exploring
    for values in ([0.0, 0.5, 1.0], [1e-9, 1e-6, 1e-3, 1.0], [-1e-6, 1e-3, 5.0], [1.0] * 300 + [50.0], [0.0]):
        rule = {"decades": DECADES, "peak": PEAK, "contours": CONTOURS}
        script = "const s = scaleOf(...arguments); return [s.low, s.high, s.kind, s.note, arguments[0].map(s.even)]"
        low, high, kind, note, even = browser.execute_script(script, values, signed, rule)
        expected = scale_of(values, signed)
        assert (low, high) == pytest.approx((expected.low, expected.high))
        assert kind == expected.kind
        assert note.translate(str.maketrans("", "", "0123456789.e-+")) == expected.note.translate(
            str.maketrans("", "", "0123456789.e-+")
        )
        sizes = np.abs(values) / (expected.floor or 1.0)
        logarithmic = np.where(sizes < 1, sizes, 1 + np.log10(np.maximum(sizes, 1)))
        assert even == pytest.approx(values if kind == "linear" else np.sign(values) * logarithmic)


def test_every_operation_is_that_of_arrays(exploring) -> None:
    browser, _ = exploring
    values = [-800.0, -5.0, -2.6, -1.0, -0.3, 0.0, 1e-9, 0.4, 1.0, 2.4, 2.6, 3.7, 800.0]
    known = browser.execute_script("return Object.keys(OPERATIONS)")
    assert set(known) == set(NUMPY) - {"constant", "inputs", "spread"}
    for name in known:
        several = name in ("add", "sub", "mul", "div", "pow", "logsumexp")
        cases = [[a, b] for a in values for b in (-2.0, 0.5, 3.0)] if several else [[a] for a in values]
        script = "return arguments[1].map((one) => String(OPERATIONS[arguments[0]](...one)))"
        found = [float(x.replace("Infinity", "inf")) for x in browser.execute_script(script, name, cases)]
        with np.errstate(all="ignore"):
            expected = NUMPY[name](*np.array(cases).T)
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-300, err_msg=name)


def test_the_weights_of_a_triplet_and_the_line_follow_a_number_that_is_typed(exploring) -> None:
    browser, _ = exploring
    browser.execute_script(
        """
        const [gamma] = document.querySelectorAll(".slider input[type=number]");
        gamma.value = 80;
        gamma.dispatchEvent(new Event("input"));
        """
    )
    read = "return [...document.querySelector('.live').querySelectorAll('.reading input')].map((i) => +i.value)"
    s_p, s_n = browser.execute_script(read)
    found = json.loads(browser.execute_script("return document.querySelector('.live output').dataset.numbers"))
    weights = weights_of(ga.decompose("circle", gamma=80))
    at = pd.DataFrame({"s_p": [s_p], "s_n": [s_n]})
    expected = with_columns(at, {name: weights[name] for name in ("w_p", "w_n")})[["w_p", "w_n"]].to_numpy()[0]
    np.testing.assert_allclose(found[:2], expected, rtol=1e-12)
    line = browser.execute_script("return document.querySelector('.line').textContent").splitlines()[0]
    said = shlex.split(line)
    objective = said[said.index("--objective") + 1]
    assert objective == "circle:gamma=80,m=0.25"
    assert f"--objective {objective}" in line, "no shell needs quotes"
    assert ga.objective(objective).objective == ga.objective("circle", gamma=80, m=0.25).objective


def test_what_lies_outside_the_domain_is_refused_and_said(exploring) -> None:
    browser, _ = exploring
    script = """
        const [gamma] = document.querySelectorAll(".slider input[type=number]");
        const before = document.querySelector(".line").textContent;
        gamma.value = arguments[0];
        gamma.dispatchEvent(new Event("input"));
        return [gamma.validationMessage, before === document.querySelector(".line").textContent];
    """
    assert browser.execute_script(script, "-3") == ["got -3 but expected a number in (0, inf)", True]
    assert browser.execute_script(script, "") == ["got nothing but expected a number in (0, inf)", True]
    assert browser.execute_script(script, "100")[0] == "", "the negative control"


def test_the_batch_lies_where_its_similarities_are(exploring) -> None:
    browser, x = exploring
    dots = browser.execute_script(
        "return document.querySelector('.chart').data.filter((t) => t.mode === 'markers').map((t) => [t.x, t.y])"
    )
    images, texts = x / np.linalg.norm(x, axis=-1, keepdims=True)
    s = images @ texts.T
    hardest = np.where(np.eye(len(s), dtype=bool), -np.inf, s).max(1)
    found = sorted(zip(*dots[1], strict=True))
    expected = sorted(zip(np.diag(s), hardest, strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)
    assert len(dots[0][0]) == 1_000


def test_a_page_to_explore_asks_for_nothing(exploring) -> None:
    browser, _ = exploring
    assert browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)") == []
