"""Journal entries from `journalctl -o json` (systemd.journal-fields(7)), whose every byte may be hostile.

Quirks of that format: a field that is not printable UTF-8 is an array of byte values, an over-large one null,
a repeated one an array of those, and numbers and timestamps are strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agent.live.lines import Line
from contract.live import JournalEntry

MESSAGE_MAX = 16 * 1024
"""Longest message in characters that is shown; a longer one ends with a note of its size."""
WORD_MAX = 256
FIELDS = (
    "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_PID", "UNIT", "OBJECT_SYSTEMD_UNIT",
    "_COMM", "_PID", "_UID", "_SYSTEMD_UNIT",
)  # fmt: skip
"""What journalctl is asked for; cursor and timestamps always come."""

_CURSOR = re.compile(r"[A-Za-z0-9=;_-]{1,512}")
_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_HIDDEN = re.compile(
    r"[^\n\t\x20-\x7e\xa0-\u061b\u061d-\u200a\u200c\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\U0010ffff]"
)
_RAW_STRING = r'"((?:[^"\\]|\\.)*)'
_CUT_CURSOR = re.compile(rf'"__CURSOR"\s*:\s*{_RAW_STRING}"')
_CUT_AT = re.compile(r'"__REALTIME_TIMESTAMP"\s*:\s*"([0-9]{1,20})"')
_CUT_MESSAGE = re.compile(rf'"MESSAGE"\s*:\s*{_RAW_STRING}', re.DOTALL)
_AT_MAX = 2**63 - 1


def parse(line: Line) -> JournalEntry | None:
    """The entry of one line, or None if it is none at all (no JSON object, no cursor)."""
    fields = fields_of(line)
    return None if fields is None else entry_of(fields)


def fields_of(line: Line) -> Mapping[str, Any] | None:
    """The raw fields; of a line that was cut, those that can be had."""
    text = line.data.decode("utf-8", "backslashreplace")
    if line.cut:
        return _salvage(text, line.size)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def entry_of(fields: Mapping[str, Any]) -> JournalEntry | None:
    """The contract's entry of journal fields; None without a usable cursor, since nobody could resume after it."""
    cursor = fields.get("__CURSOR")
    if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor):
        return None
    by_manager = fields.get("_PID") == "1" and "UNIT" in fields
    return JournalEntry(
        cursor=cursor,
        at=_number(fields.get("__REALTIME_TIMESTAMP"), default=0, highest=_AT_MAX),
        priority=_number(fields.get("PRIORITY"), default=6, highest=7),
        unit=_word(fields.get("UNIT" if by_manager else "_SYSTEMD_UNIT")),
        ident=_word(fields.get("SYSLOG_IDENTIFIER", fields.get("_COMM"))),
        pid=_word(fields.get("_PID", fields.get("SYSLOG_PID"))),
        message=_message(fields),
    )


def visible(text: str) -> str:
    """Text in which nothing acts and nothing hides.

    Colours (SGR sequences, ECMA-48 8.3.117) are dropped, since they carry no words. Every other control
    character shows as its picture (U+2400 block) or its code, also those that turn the writing direction.
    """
    if text.isprintable():
        return text
    return _HIDDEN.sub(_picture, _SGR.sub("", text.replace("\r\n", "\n")))


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"


def _message(fields: Mapping[str, Any]) -> str:
    value = fields.get("MESSAGE")
    if value is None:
        return "(no message)" if "MESSAGE" not in fields else "(the message is too large to show)"
    repeated = isinstance(value, list) and not _is_bytes(value)
    text = "\n".join(_text(part) for part in value) if repeated else _text(value)
    if len(text) > MESSAGE_MAX:
        text = f"{text[:MESSAGE_MAX]}… ({len(text)} characters)"
    return visible(text)


def _word(value: Any) -> str:
    """A short field on one line; of a repeated one the first."""
    if isinstance(value, list) and value and not _is_bytes(value):
        value = value[0]
    return "" if value is None else visible(_text(value)[:WORD_MAX]).replace("\n", "\u240a")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if _is_bytes(value):
        return bytes(value).decode("utf-8", "backslashreplace")
    return "(too large to show)" if value is None else json.dumps(value)[:MESSAGE_MAX]


def _is_bytes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= 255 for item in value)


def _number(value: Any, *, default: int, highest: int) -> int:
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdecimal():
        value = int(value)
    return value if type(value) is int and 0 <= value <= highest else default


def _salvage(text: str, size: int) -> Mapping[str, Any] | None:
    """What start and end of a cut line still tell. journalctl writes its fields in no order.

    Quotes within a JSON string are escaped, so that no message can pass for a field.
    """
    cursor, at, message = _CUT_CURSOR.search(text), _CUT_AT.search(text), _CUT_MESSAGE.search(text)
    if cursor is None:
        return None
    start = _unescape(message[1][: MESSAGE_MAX - 400]) if message else "(too large to show)"
    return {
        "__CURSOR": cursor[1],
        "__REALTIME_TIMESTAMP": at[1] if at else "0",
        "MESSAGE": f"{start}… (cut, an entry of {size} bytes)",
    }


def _unescape(raw: str) -> str:
    """A JSON string that may end in the middle of an escape."""
    for end in range(len(raw), max(len(raw) - 12, -1), -1):
        try:
            return str(json.loads(f'"{raw[:end]}"', strict=False))
        except ValueError:
            continue
    return ""
