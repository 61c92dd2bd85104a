"""The page as a person has it: a real Chromium, a real server, real clips."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.labelling.conftest import Server, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Where tests decide, those of the page may not be left out.
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="there is no chromium; `make browser` installs it"
)

Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_context().new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(address)
    return page


def shown(page: Page) -> str:
    """The clip on screen, once it is playing."""
    page.wait_for_function(
        "() => document.body.dataset.key && document.querySelector('#clip').currentTime > 0"
        " && document.querySelector('#clip').dataset.key === document.body.dataset.key"
    )
    key = page.evaluate("document.body.dataset.key")
    assert isinstance(key, str)
    return key


def press(page: Page, key: str) -> None:
    """Press a key and wait until what it says is on the server's disk."""
    before = page.evaluate("document.body.dataset.key")
    page.keyboard.press(key)
    page.wait_for_function("key => document.body.dataset.key !== key", arg=before)
    settled(page)


def settled(page: Page) -> None:
    page.wait_for_function("() => document.body.dataset.waiting === '0'")


def labels(dataset: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (dataset / "labels" / "labels.jsonl").read_text().splitlines()]


def test_label_undo_skip_and_note_with_keys(browser: Browser, serve: Serve, fresh: Path) -> None:
    with serve("--labeller", "ann") as server:
        page = opened(browser, server.address)
        first = shown(page)
        press(page, "5")
        second = shown(page)
        assert second != first
        press(page, "1")
        third = shown(page)
        # Back to the second, to think better of it, and on to the third.
        press(page, "u")
        assert shown(page) == second
        expect(page.locator("#labels .given")).to_have_text("1bad")
        page.keyboard.press("n")
        page.keyboard.type("3 <b>jumps</b>, no menu")
        page.keyboard.press("Enter")
        press(page, "4")
        assert shown(page) == third
        press(page, "s")
        fourth = shown(page)
        page.get_by_role("button", name="3").click()
        page.wait_for_function("key => document.body.dataset.key !== key", arg=fourth)
        settled(page)
        expect(page.locator("#done")).to_have_text("4 of 8")
        expect(page.locator("#counts")).to_contain_text("skipped: 1")
        assert "3 labels" in server.end()
    told = {row["key"]: row for row in labels(fresh)}
    assert {key: row["label"] for key, row in told.items()} == {first: 5, second: 4, fourth: 3}
    assert told[second]["note"] == "3 <b>jumps</b>, no menu"
    assert all(row["labeller"] == "ann" for row in told.values())


def test_a_page_that_is_loaded_anew_goes_on(browser: Browser, serve: Serve) -> None:
    with serve() as server:
        page = opened(browser, server.address)
        page.get_by_label("Who labels?").fill("ann")
        page.get_by_role("button", name="Begin").click()
        seen = {shown(page)}
        press(page, "5")
        seen.add(shown(page))
        page.reload()
        assert shown(page) in seen
        expect(page.locator("#done")).to_have_text("1 of 8")
        press(page, "u")
        expect(page.locator("#done")).to_have_text("0 of 8")


def test_all_clips_end(browser: Browser, serve: Serve) -> None:
    with serve("--labeller", "ann", "--clips", "3") as server:
        page = opened(browser, server.address)
        for key in "123":
            shown(page)
            press(page, key)
        expect(page.locator("#end-title")).to_have_text("All done")
        page.keyboard.press("Backspace")
        page.wait_for_function("() => document.body.dataset.key !== ''")
        settled(page)
        expect(page.locator("#done")).to_have_text("2 of 3")


def test_two_at_once_share_the_overlap_and_nothing_else(browser: Browser, serve: Serve, fresh: Path) -> None:
    with serve("--overlap", "0.5") as server:
        pages = []
        for name in ("ann", "bob"):
            page = opened(browser, server.address)
            page.get_by_label("Who labels?").fill(name)
            page.get_by_role("button", name="Begin").click()
            pages.append(page)
        open_pages = set(range(2))
        while open_pages:
            for number in sorted(open_pages):
                page = pages[number]
                page.wait_for_function(
                    "() => document.body.dataset.key || !document.querySelector('#end').hidden"
                )
                if page.evaluate("document.body.dataset.key"):
                    press(page, "4")
                else:
                    open_pages.discard(number)
        server.end()
    rows = labels(fresh)
    with sqlite3.connect(fresh / "labels" / "labels.sqlite3") as database:
        shared = {key for (key,) in database.execute("SELECT key FROM planned WHERE shared")}
    for key in {row["key"] for row in rows}:
        who = [row["labeller"] for row in rows if row["key"] == key]
        assert sorted(who) == ["ann", "bob"] if key in shared else len(who) == 1
    assert len({row["key"] for row in rows}) == 8


def test_a_browser_closed_midway_loses_no_label(browser: Browser, serve: Serve, fresh: Path) -> None:
    with serve("--labeller", "ann") as server:
        page = opened(browser, server.address)
        given = {}
        for label in "54":
            given[shown(page)] = int(label)
            press(page, label)
        page.context.close()
        # Nor does a server that is killed.
        server.kill()
    with serve("--labeller", "ann") as server:
        server.end()
    assert {row["key"]: row["label"] for row in labels(fresh)} == given


def test_what_is_said_while_the_server_is_away_is_kept(browser: Browser, fresh: Path) -> None:
    with serving(fresh, "--labeller", "ann") as server:
        port = server.address.rstrip("/").rsplit(":", 1)[1]
        page = opened(browser, server.address)
        first = shown(page)
        server.kill()
        page.keyboard.press("2")
        expect(page.locator("#trouble")).to_contain_text("1 answer kept here")
        second = page.evaluate("document.body.dataset.key")
        page.keyboard.press("3")
        expect(page.locator("#trouble")).to_contain_text("2 answers kept here")
    with serving(fresh, "--labeller", "ann", "--port", port) as server:
        settled(page)
        expect(page.locator("#trouble")).to_be_hidden()
        server.end()
    assert {row["key"]: row["label"] for row in labels(fresh)} == {first: 2, second: 3}


def test_the_page_tells_nothing_that_would_sway(browser: Browser, serve: Serve) -> None:
    with serve("--labeller", "ann") as server:
        page = opened(browser, server.address)
        shown(page)
        text = page.inner_text("body")
        assert not any(word in text.lower() for word in ("dropped", "kept", "motion", "coinrun", "supertux"))
