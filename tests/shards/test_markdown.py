"""A stranger's text in Markdown: shown as it is, and nothing more."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from shards.export.markdown import table, text

RENDER = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render
PUNCTUATION = st.text(alphabet="<>&[]()!`*_~|#-+=:;./\\'\"{}$@ \n\tab1", max_size=60)


def shown(value: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())


@given(st.one_of(st.text(max_size=60), PUNCTUATION))
def test_a_cell_shows_the_text_and_is_one_cell(value: str) -> None:
    rendered = RENDER("\n".join(table(("one", "other"), [(value, "end")])))
    cells = re.findall(r"<td>(.*?)</td>", rendered, flags=re.DOTALL)
    assert [html.unescape(cell) for cell in cells] == [shown(value), "end"]
    assert not re.findall(r"<(?!/?(?:table|thead|tbody|tr|th|td)>)", rendered)


def test_what_is_long_is_cut() -> None:
    assert text("a" * 200) == "a" * 200
    assert text("a" * 201) == "a" * 199 + "\N{HORIZONTAL ELLIPSIS}"
