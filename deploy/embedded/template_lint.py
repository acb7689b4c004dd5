"""What the Content-Security-Policy would refuse, and what would leave the portal, found before a browser does.

No inline script, style or event handler; nothing fetched from or linked to another site; no javascript: URL; no hx-on,
which evaluates text as code.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

_TAG = re.compile(r"{%.*?%}|{#.*?#}", re.S)
_VALUE = re.compile(r"{{.*?}}", re.S)
_REMOTE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.I)
_CSS_REMOTE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])(?:https?:)?//", re.I)
_ADDRESSES = {"src", "href", "action", "formaction", "srcset", "poster", "data", "hx-get", "hx-post", "xlink:href"}
_DATA_BLOCKS = {"application/json", "text/template"}


def faults(templates: Path, styles: Path) -> list[str]:
    """One line a fault: file, line, what is wrong."""
    found: list[str] = []
    for path in sorted(templates.rglob("*.html")):
        parser = _Parser()
        parser.feed(_without_django(path.read_text()))
        parser.close()
        found += [f"{path}:{line}: {what}" for line, what in parser.found]
    for path in sorted(styles.rglob("*.css")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if _CSS_REMOTE.search(line):
                found.append(f"{path}:{number}: a style fetches from another site")
    return found


def _without_django(text: str) -> str:
    """Tags to spaces, values to a word, lines kept."""
    text = _TAG.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    return _VALUE.sub("x", text)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        values = {name: value or "" for name, value in attrs}
        if tag == "script" and "src" not in names and values.get("type") not in _DATA_BLOCKS:
            self._fault("an inline script")
        if tag == "style":
            self._fault("an inline style sheet")
        for name, value in values.items():
            if name == "style":
                self._fault("a style attribute")
            elif re.fullmatch(r"on[a-z]+", name) or name.startswith(("hx-on", "data-hx-on")):
                self._fault(f"the event handler {name}")
            elif name in _ADDRESSES and _REMOTE.match(value):
                self._fault(f"{name} leads to another site: {value[:60]}")
            elif value.strip().lower().startswith("javascript:"):
                self._fault(f"{name} is a javascript: URL")

    handle_startendtag = handle_starttag

    def _fault(self, what: str) -> None:
        self.found.append((self.getpos()[0], what))
