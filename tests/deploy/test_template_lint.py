"""The template lint finds what the Content-Security-Policy would refuse, at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.embedded.options import ROOT
from deploy.embedded.template_lint import faults


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<script>alert(1)</script>", "inline script"),
        ("<style>a{}</style>", "inline style sheet"),
        ('<p style="color:red">', "style attribute"),
        ('<a onclick="x()">', "event handler onclick"),
        ('<a hx-on:click="x()">', "event handler hx-on"),
        ('<img src="https://example.test/x.png">', "another site"),
        ('<script src="//example.test/x.js"></script>', "another site"),
        ('<a href="{% if a %}http://example.test{% endif %}">', "another site"),
        ('<a href="javascript:x()">', "javascript:"),
    ],
)
def test_a_fault_is_found_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "page.html").write_text("{% if\n x %}\n" + text)
    (found,) = faults(tmp_path, tmp_path)
    assert ":3: " in found and what in found


@pytest.mark.parametrize(
    "text",
    [
        '<script src="{% static "app.js" %}" defer></script>',
        '<script type="application/json" id="x">{"a": "<b>"}</script>',
        '<a href="{{ url }}">{# onclick="no" #}</a>',
        '<form action="/x" method="post"><input name="online">',
        "<p>onclick= style= https://example.test</p>",
    ],
)
def test_what_is_allowed_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.html").write_text(text)
    assert faults(tmp_path, tmp_path) == []


def test_styles_fetch_from_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text('a{}\n@import "//example.test/a.css";\nb{background:url(x.png)}')
    (found,) = faults(tmp_path, tmp_path)
    assert ":2: " in found


def test_our_own_templates_are_clean() -> None:
    assert faults(ROOT / "templates", ROOT / "static" / "css") == []
