"""The built documentation in a real browser: nothing missing or from elsewhere, readable wide, narrow, dark and light.

Needs docs/_build/html, Playwright (the extra ``site``) and Chromium, found on the path or named by GRADSTEP_CHROMIUM.
"""

import functools
import http.server
import os
import shutil
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

SITE = Path(__file__).parents[1] / "docs" / "_build" / "html"
CHROMIUM = os.environ.get("GRADSTEP_CHROMIUM") or shutil.which("chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run")  # fmt: skip
MISSING = [
    said
    for said, there in (
        ("the documentation is not built", (SITE / "index.html").exists()),
        ("playwright is not installed", find_spec("playwright") is not None),
        ("there is no chromium", CHROMIUM is not None),
    )
    if not there
]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=", ".join(MISSING)),
    # Of the browser's driver, not of ours: its loop may still close when the interpreter does.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

COURSE = sorted(f"course/{path.name}" for path in (SITE / "course").glob("[0-9]_*.html"))
PAGES = ["index.html", "default.html", "nist.html", "notation.html", "api.html", "formulas/losses.html",
         "api/generated/gradstep.fit.html", "api/generated/gradstep.textbook.NormalInverseGamma.html",
         "course/index.html", *COURSE]  # fmt: skip

# Text that is seen, and its contrast to what is behind it: (ratio, text) of each element that has text of its own.
CONTRASTS = """() => {
  const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const colour = s => (s.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const e of document.querySelectorAll("article *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest("svg, mjx-assistive-mml, .headerlink")) continue;
    const [a, b] = [light(colour(getComputedStyle(e).color)), light(behind(e))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""

# What is wider than the window and cannot be scrolled by itself.
OVERFLOW = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""

UNREADABLE_MATHEMATICS = """() => [...document.querySelectorAll(".math")].filter(
  e => !e.querySelector("mjx-container") || e.querySelector("mjx-merror, [data-mml-node='merror']")
).map(e => e.textContent.slice(0, 60))"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    """Serve the site on this machine alone."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


class Visit:
    """A page open in a window of some width, and what went wrong while it loaded."""

    def __init__(self, browser, address, width=1280):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="light")
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on(
            "console", lambda said: self.wrong.append(said.text) if said.type in {"error", "warning"} else None
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        self.page.on("response", lambda answer: self.wrong.append(answer.url) if answer.status >= 400 else None)
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(address, wait_until="load")
        self.page.evaluate("() => window.MathJax && window.MathJax.startup.promise")
        self.page.wait_for_load_state("networkidle")

    def _asked(self, url):
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.wrong.append(f"asked elsewhere: {url}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


def test_the_course_is_whole():
    assert [Path(page).name[:2] for page in COURSE] == [f"{i}_" for i in range(1, 7)]


@pytest.mark.parametrize("page", PAGES)
def test_page(site, browser, page, request):
    pictures = os.environ.get("GRADSTEP_SCREENSHOTS")
    for width in (1280, 390):
        with Visit(browser, f"{site}/{page}", width) as visit:
            for scheme in ("light", "dark"):
                visit.page.emulate_media(color_scheme=scheme)
                visit.page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
                if pictures:
                    name = f"{page.replace('/', '-').removesuffix('.html')}-{width}-{scheme}.png"
                    visit.page.screenshot(path=Path(pictures) / name, full_page=True)
                faint = [(round(ratio, 2), text) for ratio, text in visit.page.evaluate(CONTRASTS) if ratio < 4.5]
                assert not faint, scheme
            assert not visit.wrong
            assert visit.page.evaluate(OVERFLOW) <= 0, width
            assert not visit.page.evaluate(UNREADABLE_MATHEMATICS)
            if width == 1280:
                assert visit.page.title().endswith("gradstep")
                images = visit.page.eval_on_selector_all(
                    "article img", "all => all.map(e => [e.src, e.alt.trim(), e.naturalWidth])"
                )
                assert all(alternative and wide > 0 for _, alternative, wide in images), images
            if page in COURSE:
                assert visit.page.locator("mjx-container").count() >= 3
                assert visit.page.locator("article img").count() >= 2


def test_search_finds_a_name(site, browser):
    with Visit(browser, f"{site}/search.html?q=NormalInverseGamma") as visit:
        visit.page.wait_for_selector("#search-results li")
        found = visit.page.locator("#search-results li a").all_text_contents()
        assert any("NormalInverseGamma" in text for text in found)
        assert not visit.wrong


def test_the_switch_of_the_theme(site, browser):
    with Visit(browser, f"{site}/{COURSE[0]}") as visit:
        for mode in ("dark", "light"):
            visit.page.locator("button.theme-switch-button:visible").first.click()
            visit.page.locator(f"button.theme-change-button[data-mode={mode}]:visible").first.click()
            assert visit.page.evaluate("() => document.documentElement.dataset.theme") == mode
        assert not visit.wrong
