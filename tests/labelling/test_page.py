"""A person at the page, in a real Chromium: keys, mistakes, reloads, and a server that goes away.

Chromium is Debian's; `make test` brings it where it may. Without it these tests are skipped, but not in CI.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labelling.answers import export_labels
from labelling.clips import read_catalog
from labelling.database import Database
from shards.store import Store
from tests.faults.processes import wait_until
from tests.labelling.conftest import Served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

Serve = Callable[..., Served]
Open = Callable[..., "Page"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI has no chromium: tests/labelling/get_chromium.sh brings it")
        pytest.skip("there is no chromium; tests/labelling/get_chromium.sh brings it where it may")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile: what its pages store, no other one sees."""
    context = browser.new_context()
    yield context
    context.close()


def opened(context: BrowserContext, url: str, name: str | None = None) -> Page:
    """The page with a clip, as `name`, or as whom it knows; an error of its script fails the test."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: _SCRIPT_ERRORS.append(str(error)))
    page.goto(url)
    if name:
        page.fill("#name", name)
        page.keyboard.press("Enter")
    page.wait_for_selector("#stage[aria-busy=false] video")
    return page


_SCRIPT_ERRORS: list[str] = []


@pytest.fixture(autouse=True)
def _no_error_in_the_script() -> Iterator[None]:
    _SCRIPT_ERRORS.clear()
    yield
    assert _SCRIPT_ERRORS == []


def wait(page: Page, condition: str, *arguments: Any) -> None:
    """Until a condition, a function in JavaScript, holds. (Playwright's own way offends the page's CSP.)"""
    wait_until(lambda: page.evaluate(f"of => ({condition})(...of)", list(arguments)), condition)


def shown(page: Page) -> str | None:
    """The key of the clip that is shown; None at the end of the plan."""
    key: str | None = page.evaluate(
        "document.querySelector('#stage:not([hidden])[aria-busy=false] video')?.dataset.key ?? null"
    )
    return key


def press(page: Page, key: str) -> str:
    """Press a key on a clip, and wait for another clip or the end; returns the first clip's key."""
    before = shown(page)
    assert before is not None
    page.keyboard.press(key)
    wait(
        page,
        """before => !document.querySelector('#end').hidden ||
        ![null, before].includes(
            document.querySelector('#stage[aria-busy=false] video')?.dataset.key ?? null)""",
        before,
    )
    return before


def wait_for_text(page: Page, selector: str, text: str) -> None:
    wait(
        page,
        "(selector, text) => document.querySelector(selector).textContent.includes(text)",
        selector,
        text,
    )


def wait_until_stored(page: Page) -> None:
    """Until the page has nothing left to send."""
    wait(page, "() => !Object.keys(localStorage).some(name => name.startsWith('genieset/'))")


def wait_for_clips(page: Page, count: int) -> None:
    """Until so many clips have arrived, the shown one and those ahead of it."""
    wait(
        page,
        "count => performance.getEntriesByType('resource').filter(e => e.name.includes('/clip/')).length"
        " >= count",
        count,
    )


def labels(dataset: Path) -> dict[tuple[str, str], Any]:
    """(key, labeller) -> label, or (label, note) where there is a note."""
    export_labels(Store(dataset))
    lines = map(json.loads, (dataset / "labels" / "labels.jsonl").read_text().splitlines())
    return {
        (line["key"], line["labeller"]): (line["label"], line["note"]) if "note" in line else line["label"]
        for line in lines
    }


def answers_ever(dataset: Path) -> int:
    with Database(Store(dataset)) as database, database.reading() as connection:
        count: int = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
    return count


def test_labels_undo_skip_note_and_all_done(serve: Serve, context: BrowserContext, dataset: Path) -> None:
    page = opened(context, serve().url, "Ada")
    wait(page, "() => document.querySelector('#stage video').currentTime > 0.2")
    assert page.evaluate("document.querySelector('#stage video').loop")
    scaling = page.evaluate("getComputedStyle(document.querySelector('#stage video')).imageRendering")
    assert scaling == "pixelated"
    expected: dict[tuple[str, str], Any] = {}
    for key in "12345":
        expected[press(page, key), "Ada"] = int(key)
    last = list(expected)
    for undone in ("u", "Backspace", "U"):
        press(page, undone)
        assert shown(page) == last.pop()[0], "back at the clip of which it was"
    expected = {of: expected[of] for of in last}
    expected[press(page, "1"), "Ada"] = 1
    skipped = press(page, "s")
    page.keyboard.press("n")
    page.keyboard.type("5 u s n <b>&")
    page.keyboard.press("Enter")
    expected[press(page, "4"), "Ada"] = (4, "5 u s n <b>&")
    page.keyboard.press("n")
    page.keyboard.type("never mind")
    page.keyboard.press("Escape")
    expected[press(page, "2"), "Ada"] = 2
    wait_for_text(page, "#progress-text", "6 of 12")
    while shown(page) is not None:
        expected[press(page, "5"), "Ada"] = 5
    wait_for_text(page, "#end-title", "All done")
    assert page.text_content("#progress-text") == "12 of 12"
    assert [int(text or 0) for text in page.locator("#labels output").all_text_contents()] == [
        sum((of[0] if isinstance(of, tuple) else of) == label for of in expected.values())
        for label in range(1, 6)
    ]
    assert labels(dataset) == expected
    keys = set(read_catalog(Store(dataset))["key"].to_pylist())
    assert {key for key, _ in expected} == keys - {skipped}
    page.keyboard.press("u")  # even from the end
    page.wait_for_selector("#stage[aria-busy=false] video")
    wait_until_stored(page)
    assert len(labels(dataset)) == len(expected) - 1


def note_text(page: Page) -> str:
    """Open the note and read it."""
    page.keyboard.press("n")
    text: str = page.input_value("#note-text")
    page.keyboard.press("Escape")
    return text


def tap_label(page: Page, label: str) -> str:
    """Press a label's button by mouse, and wait for another clip; returns the first clip's key."""
    before = shown(page)
    assert before is not None
    page.click(f'[data-label="{label}"]')
    wait(
        page,
        "before => ![undefined, before].includes("
        "document.querySelector('#stage[aria-busy=false] video')?.dataset.key)",
        before,
    )
    return before


def test_an_open_note_goes_with_the_label_that_is_pressed(
    serve: Serve, context: BrowserContext, dataset: Path
) -> None:
    page = opened(context, serve().url, "Ada")
    page.keyboard.press("n")
    page.keyboard.type("a menu, I think")
    key = tap_label(page, "2")
    assert page.is_hidden("#note")
    assert note_text(page) == "", "the next clip has none"
    wait_until_stored(page)
    assert labels(dataset) == {(key, "Ada"): (2, "a menu, I think")}


def test_an_undo_brings_the_note_back(serve: Serve, context: BrowserContext, dataset: Path) -> None:
    page = opened(context, serve().url, "Ada")
    page.keyboard.press("n")
    page.keyboard.type("one")
    first = tap_label(page, "1")
    page.keyboard.press("n")
    page.keyboard.type("two")
    second = shown(page)
    page.click('[data-do="undo"]')
    wait(page, "key => document.querySelector('#stage[aria-busy=false] video')?.dataset.key === key", first)
    assert note_text(page) == "one"
    press(page, "3")
    assert shown(page) == second
    assert note_text(page) == "two", "what was begun before the undo"
    press(page, "4")
    wait_until_stored(page)
    assert labels(dataset) == {(first, "Ada"): (3, "one"), (second, "Ada"): (4, "two")}
    page.reload()
    page.wait_for_selector("#who:not([hidden]), #stage[aria-busy=false] video")
    wait(page, "() => !document.querySelector('[data-do=undo]').disabled")
    page.keyboard.press("u")
    wait(page, "key => document.querySelector('#stage[aria-busy=false] video')?.dataset.key === key", second)
    assert note_text(page) == "two", "also on a page that did not give it"


def test_a_note_outlives_a_clip_that_is_long_in_coming(
    serve: Serve, context: BrowserContext, dataset: Path
) -> None:
    served = serve()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    refused: list[str] = []

    def refuse(route: Any) -> None:
        refused.append(route.request.url)
        route.abort()

    page.route("**/clip/**", refuse)
    page.goto(served.url)
    page.fill("#name", "Ada")
    page.keyboard.press("Enter")
    wait_until(lambda: page.evaluate("1") and refused, "the first try")
    page.keyboard.press("n")
    page.keyboard.type("slow")
    first = refused[0]
    wait_until(lambda: page.evaluate("1") and refused.count(first) > 2, "further tries")
    assert page.is_visible("#note")
    assert page.input_value("#note-text") == "slow"
    page.unroute("**/clip/**")
    page.wait_for_selector("#stage[aria-busy=false] video")
    key = tap_label(page, "5")
    wait_until_stored(page)
    assert labels(dataset) == {(key, "Ada"): (5, "slow")}


def test_a_name_within_a_name_sends_nothing_of_the_other(
    serve: Serve, context: BrowserContext, dataset: Path
) -> None:
    served = serve("--overlap", "1")
    page = opened(context, served.url, "a/b")
    wait_for_clips(page, 3)
    served.kill()
    given = {(press(page, "4"), "a/b"): 4}
    page.close()
    again = serve("--overlap", "1", "--port", str(served.port))
    page = opened(context, again.url, "a")
    given[press(page, "2"), "a"] = 2
    wait_for_text(page, "#progress-text", "1 of 12")
    assert labels(dataset) == {of: label for of, label in given.items() if of[1] == "a"}
    page.close()
    page = opened(context, again.url, "a/b")
    wait_until_stored(page)
    assert labels(dataset) == given


def fits_a_phone(page: Page) -> None:
    for button in page.locator("footer button:visible").all():
        box = button.bounding_box()
        assert box
        assert 0 <= box["x"] <= 360 - box["width"]
        assert 0 <= box["y"] <= 640 - box["height"]


def test_buttons_do_what_keys_do_on_a_phone(serve: Serve, browser: Browser, dataset: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    page = opened(context, serve().url, "Ada")
    first = shown(page)
    for name, after in (("4", None), ("undo", first), ("skip", None), ("undo", first), ("3", None)):
        page.get_by_role("button", name=name).tap()
        wait(
            page,
            "(first, after) => { const key = document.querySelector('#stage[aria-busy=false] video')"
            "?.dataset.key; return key && (after ? key === after : key !== first); }",
            first,
            after,
        )
    fits_a_phone(page)
    wait_until_stored(page)
    context.close()
    assert labels(dataset) == {(first, "Ada"): 3}


def test_a_held_key_is_one_answer_and_a_shortcut_is_none(serve: Serve, context: BrowserContext) -> None:
    page = opened(context, serve().url, "Ada")
    first = shown(page)
    page.keyboard.press("Control+1")
    page.keyboard.press("Alt+2")
    page.keyboard.press("x")
    assert shown(page) == first
    page.keyboard.down("5")
    for _ in range(10):
        page.keyboard.down("5")
    page.keyboard.up("5")
    wait_for_text(page, "#progress-text", "1 of 12")
    wait_until_stored(page)
    assert page.text_content("#progress-text") == "1 of 12"


def test_a_reload_goes_on_and_can_still_undo(serve: Serve, context: BrowserContext, dataset: Path) -> None:
    page = opened(context, serve().url, "Ada")
    given = [press(page, key) for key in "123"]
    after = shown(page)
    page.reload()
    page.wait_for_selector("#stage[aria-busy=false] video")
    assert shown(page) == after
    for key in reversed(given):
        press(page, "u")
        assert shown(page) == key
    wait_until_stored(page)
    assert labels(dataset) == {}
    assert answers_ever(dataset) == 3


def test_two_labellers_at_once(serve: Serve, browser: Browser, dataset: Path) -> None:
    url = serve("--overlap", "0.3").url
    contexts = {name: browser.new_context() for name in ("Ada", "Bob")}
    pages = {name: opened(context, url, name) for name, context in contexts.items()}
    expected: dict[tuple[str, str], Any] = {}
    turn = 0
    while any(shown(page) for page in pages.values()):
        for name, page in pages.items():
            if shown(page):
                expected[press(page, str(turn % 5 + 1)), name] = turn % 5 + 1
                turn += 1
        for page in pages.values():
            wait_until_stored(page)
    assert labels(dataset) == expected
    of_clip = [key for key, _ in expected]
    keys = set(read_catalog(Store(dataset))["key"].to_pylist())
    assert set(of_clip) == keys
    twice = {key for key in keys if of_clip.count(key) == 2}
    assert 0 < len(twice) < len(keys)
    for page in pages.values():
        wait_for_text(page, "#agreement", f"{len(twice)} clip")
        wait_for_text(page, "#end-title", "All done")
    for context in contexts.values():
        context.close()


def test_a_browser_closed_mid_way_loses_nothing(serve: Serve, browser: Browser, dataset: Path) -> None:
    url = serve().url
    context = browser.new_context()
    page = opened(context, url, "Ada")
    given = {(press(page, key), "Ada"): int(key) for key in "512"}
    wait_until_stored(page)
    context.close()  # no word of farewell is sent
    assert labels(dataset) == given
    context = browser.new_context()
    page = opened(context, url, "Ada")
    assert (shown(page), "Ada") not in given
    given[press(page, "3"), "Ada"] = 3
    wait_until_stored(page)
    context.close()
    assert labels(dataset) == given


def test_a_server_that_is_killed_and_comes_back(serve: Serve, context: BrowserContext, dataset: Path) -> None:
    served = serve()
    page = opened(context, served.url, "Ada")
    expected: dict[tuple[str, str], Any] = {(press(page, "1"), "Ada"): 1}
    wait_until_stored(page)
    wait_for_text(page, "#progress-text", "1 of 12")
    wait_for_clips(page, 6)
    served.kill()
    for key in "23":
        expected[press(page, key), "Ada"] = int(key)
    page.wait_for_selector("#trouble:not([hidden])")
    wait_for_text(page, "#trouble", "2 answers are kept here")
    undone = press(page, "4")
    press(page, "u")
    assert shown(page) == undone
    expected[press(page, "5"), "Ada"] = 5
    assert len(labels(dataset)) == 1
    again = serve("--port", str(served.port))
    page.wait_for_selector("#trouble", state="hidden")
    wait_until_stored(page)
    assert labels(dataset) == expected
    assert answers_ever(dataset) == 5, "each was sent, and counted once"
    expected[press(page, "2"), "Ada"] = 2
    wait_until_stored(page)
    assert labels(dataset) == expected
    assert again.process.poll() is None


def test_what_a_closed_page_could_not_send_is_sent_by_the_next(
    serve: Serve, context: BrowserContext, dataset: Path
) -> None:
    served = serve("--labeller", "Ada")
    page = opened(context, served.url)
    wait_for_clips(page, 5)
    served.kill()
    given = {(press(page, key), "Ada"): int(key) for key in "45"}
    page.close()
    again = serve("--labeller", "Ada", "--port", str(served.port))
    page = opened(context, again.url)
    wait_until_stored(page)
    assert labels(dataset) == given
    assert (shown(page), "Ada") not in given


def test_an_answer_whose_reply_was_lost_counts_once(
    serve: Serve, context: BrowserContext, dataset: Path
) -> None:
    page = opened(context, serve().url, "Ada")
    lost: list[str] = []

    def lose(route: Any) -> None:
        if not lost:
            lost.append(route.fetch().text())  # the server has it, and the page never hears of it
            route.abort()
        else:
            route.continue_()

    page.route("**/api/answer", lose)
    key = press(page, "4")
    wait_until(lambda: page.evaluate("1") and lost, "the first try")
    wait_until_stored(page)
    assert labels(dataset) == {(key, "Ada"): 4}
    assert answers_ever(dataset) == 1


def test_a_page_of_another_plan_says_so_and_keeps_its_answers(
    serve: Serve, context: BrowserContext, dataset: Path
) -> None:
    served = serve("--labeller", "Ada")
    page = opened(context, served.url)
    served.kill()
    other = serve("--labeller", "Ada", "--seed", "1", "--port", str(served.port))
    given = {(press(page, "4"), "Ada"): 4}
    wait_for_text(page, "#trouble", "another plan")
    page.close()
    other.kill()
    serve("--labeller", "Ada", "--port", str(served.port))
    wait_until_stored(opened(context, served.url))
    assert labels(dataset) == given


def test_a_clip_that_the_dataset_lost_can_be_skipped(
    serve: Serve, context: BrowserContext, dataset: Path
) -> None:
    served = serve()
    for pack in (dataset / "packs").glob("*.tar"):
        pack.unlink()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(served.url)
    page.fill("#name", "Ada")
    page.keyboard.press("Enter")
    wait_for_text(page, "#trouble", "lost this clip")
    page.keyboard.press("5")
    page.keyboard.press("s")
    wait_for_text(page, "#progress-text", "1 of 12")
    assert labels(dataset) == {}


WIDE_SHOWN = """key => { const images = [...document.querySelectorAll('#wide:not([hidden]) img')];
return images.length === 4 &&
    images.every(image => image.dataset.key === key && image.naturalWidth > 160); }"""


def test_wide_frames_are_shown_with_the_clip_and_large_on_a_key(
    serve: Serve, context: BrowserContext, built_wide: Path, tmp_path: Path
) -> None:
    dataset = Path(shutil.copytree(built_wide, tmp_path / "wide"))
    page = opened(context, serve("--token", "sesame", on=dataset).url, "Ada")
    first = shown(page)
    wait(page, WIDE_SHOWN, first)
    assert page.is_visible("#stage video")
    small = page.locator("#wide img").first.bounding_box()
    page.keyboard.press("w")
    large = page.locator("#wide img").first.bounding_box()
    assert small
    assert large
    assert large["width"] * large["height"] > 2 * small["width"] * small["height"]
    assert page.is_hidden("#stage video")
    page.keyboard.press("w")
    assert page.is_visible("#stage video")
    box = page.locator("#stage video").bounding_box()
    assert box
    assert box["width"] >= 160
    page.click('[data-do="wide"]')
    assert page.is_hidden("#stage video")
    assert press(page, "5") == first, "labelling goes on all the same"
    assert page.is_visible("#stage video"), "and begins with the clip"
    wait(page, WIDE_SHOWN, shown(page))
    press(page, "u")
    assert shown(page) == first
    wait(page, WIDE_SHOWN, first)
    asked = "performance.getEntriesByType('resource').map(e => e.name).filter(n => n.endsWith('wide.json'))"
    wait(page, f"() => {asked}.length === 4")
    assert len(set(page.evaluate(asked))) == 4, "each is fetched once, and ahead"


def test_wide_frames_on_a_phone(serve: Serve, browser: Browser, built_wide: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(built_wide, tmp_path / "wide"))
    context = browser.new_context(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    page = opened(context, serve(on=dataset).url, "Ada")
    wait(page, WIDE_SHOWN, shown(page))
    fits_a_phone(page)
    page.locator("#wide").tap()
    assert page.is_hidden("#stage video")
    fits_a_phone(page)
    context.close()


def test_without_wide_frames_there_is_no_place_for_them(serve: Serve, context: BrowserContext) -> None:
    page = opened(context, serve().url, "Ada")
    assert page.is_hidden("#wide")
    assert page.is_hidden('[data-do="wide"]')
    page.keyboard.press("w")
    assert page.is_visible("#stage video")


def test_with_a_token(serve: Serve, context: BrowserContext, dataset: Path) -> None:
    page = opened(context, serve("--token", "sesame").url, "Ada")
    key = press(page, "5")
    wait_until_stored(page)
    assert labels(dataset) == {(key, "Ada"): 5}
