"""Journal lines: whatever comes, an entry is safe text of bounded size, or nothing."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from agent.live.entries import MESSAGE_MAX, parse, visible
from agent.live.lines import LINE_MAX, Line, LineSplitter
from contract.live import JournalEntry, Out

CURSOR = "s=0f2e;i=1;b=9a;m=1;t=5;x=7"


def line(**fields: Any) -> Line:
    fields = {"__CURSOR": CURSOR, "__REALTIME_TIMESTAMP": "1700000000000000"} | fields
    data = json.dumps(fields).encode()
    return Line(data, len(data))


def entry(**fields: Any) -> JournalEntry:
    found = parse(line(**fields))
    assert found is not None
    assert Out.model_validate_json(Out(entries=[found]).model_dump_json()).entries == [found], "it must travel"
    return found


def test_a_plain_entry_keeps_its_fields() -> None:
    found = entry(
        MESSAGE="hello", PRIORITY="3", _SYSTEMD_UNIT="cron.service", SYSLOG_IDENTIFIER="CRON", _COMM="cron", _PID="42"
    )
    assert found == JournalEntry(
        cursor=CURSOR, at=1700000000000000, priority=3, unit="cron.service", ident="CRON", pid="42", message="hello"
    )


def test_what_systemd_says_of_a_unit_belongs_to_that_unit() -> None:
    assert entry(MESSAGE="Started", _PID="1", UNIT="ssh.service", _SYSTEMD_UNIT="init.scope").unit == "ssh.service"


def test_a_service_cannot_pretend_to_be_another_unit() -> None:
    assert entry(MESSAGE="x", _PID="77", UNIT="ssh.service", _SYSTEMD_UNIT="evil.service").unit == "evil.service"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (list(b"caf\xc3\xa9"), "café"),
        (list(b"bad \xff\xfe byte"), "bad \\xff\\xfe byte"),
        (list(b"\x1b[32mOK\x1b[0m done"), "OK done"),
        ("\x1b]0;title\x07\x1b[2J", "␛]0;title␇␛[2J"),
        ("a\x00b\x7f\x9b", "a␀b␡\\x9b"),
        ("safe\u202eevil", "safe\\u202eevil"),
        ("line\nline\ttab", "line\nline\ttab"),
        ("\ud800 alone", "\\ud800 alone"),
        (["first", list(b"second"), None], "first\nsecond\n(too large to show)"),
        (None, "(the message is too large to show)"),
        ({"an": "object"}, '{"an": "object"}'),
        (12, "12"),
        ([300, 1], "300\n1"),
        ([], ""),
    ],
)
def test_a_hostile_message_becomes_plain_text(message: Any, shown: str) -> None:
    assert entry(MESSAGE=message).message == shown


def test_an_entry_without_a_message_says_so() -> None:
    assert entry().message == "(no message)"


def test_a_long_message_is_cut_and_says_how_long_it_was() -> None:
    found = entry(MESSAGE="x" * 100_000)
    assert len(found.message) < MESSAGE_MAX + 100
    assert found.message.endswith("… (100000 characters)")


@pytest.mark.parametrize(
    ("fields", "priority", "at"),
    [
        ({"PRIORITY": "9"}, 6, 1700000000000000),
        ({"PRIORITY": ["2", "3"]}, 2, 1700000000000000),
        ({"PRIORITY": None}, 6, 1700000000000000),
        ({"PRIORITY": "²"}, 6, 1700000000000000),
        ({"PRIORITY": "-1", "__REALTIME_TIMESTAMP": "x"}, 6, 0),
        ({"__REALTIME_TIMESTAMP": "9" * 20}, 6, 0),
        ({"__REALTIME_TIMESTAMP": True}, 6, 0),
    ],
)
def test_numbers_out_of_bounds_fall_back(fields: dict[str, Any], priority: int, at: int) -> None:
    found = entry(MESSAGE="m", **fields)
    assert (found.priority, found.at) == (priority, at)


def test_short_fields_stay_short_and_on_one_line() -> None:
    found = entry(MESSAGE="m", SYSLOG_IDENTIFIER="a\nb" + "c" * 5000, _PID=["7", "8"], _SYSTEMD_UNIT=list(b"u\xff"))
    assert found.ident.startswith("a␊b")
    assert len(found.ident) <= 256
    assert (found.pid, found.unit) == ("7", "u\\xff")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"not json", b"[1,2]", b"null", b'{"__CURSOR":5}', b'{"MESSAGE":"no cursor"}', b"\xff\xfe", b"[" * 200_000,
        b'{"__CURSOR":"a b"}', b'{"__CURSOR":"' + b"a" * 600 + b'"}', b'{"a":' + b"9" * 10_000 + b"}",
    ],
)  # fmt: skip
def test_a_line_that_is_no_entry_is_none(data: bytes) -> None:
    assert parse(Line(data, len(data))) is None


@pytest.mark.parametrize("message_first", [True, False])
def test_of_a_line_of_a_megabyte_the_start_is_shown(message_first: bool) -> None:
    text = 'say "hi"\n"__CURSOR":"forged" ' + "x" * 1_000_000 + '"__CURSOR":"forged"'
    rest = {"__CURSOR": CURSOR, "__REALTIME_TIMESTAMP": "1700000000000000"}
    fields = {"MESSAGE": text} | rest if message_first else rest | {"MESSAGE": text}
    whole = json.dumps(fields).encode()
    (cut,) = LineSplitter().feed(whole + b"\n")
    assert cut.cut
    assert len(cut.data) <= LINE_MAX
    found = parse(cut)
    assert found is not None
    assert found.cursor == CURSOR
    assert found.at == 1700000000000000
    assert found.message.startswith('say "hi"\n"__CURSOR":"forged" xxx')
    assert f"an entry of {len(whole)} bytes" in found.message
    assert len(found.message) < MESSAGE_MAX + 200


def test_lines_come_whole_however_they_are_cut_into_chunks() -> None:
    text = b"".join(b"%d\n" % number for number in range(1000)) + b"rest"
    for size in (1, 2, 3, 7, 64, 5000):
        splitter = LineSplitter()
        found = [one.data for start in range(0, len(text), size) for one in splitter.feed(text[start : start + size])]
        assert found == [b"%d" % number for number in range(1000)]


def test_a_line_without_end_takes_bounded_memory() -> None:
    splitter = LineSplitter(limit=1000, tail=100)
    for _ in range(1000):
        assert splitter.feed(b"x" * 10_000) == []
    (found, after) = splitter.feed(b"end\nafter\n")
    assert (len(found.data), found.size) == (1000, 10_000_003)
    assert found.data.endswith(b"xend")
    assert after == Line(b"after", 5)


@pytest.mark.parametrize("size", [898, 899, 900, 999, 1000])
@pytest.mark.parametrize("chunk", [1, 300, 5000])
def test_a_line_up_to_the_limit_stays_whole(size: int, chunk: int) -> None:
    text = bytes(48 + number % 10 for number in range(size)) + b"\n"
    splitter = LineSplitter(limit=1000, tail=100)
    found = [one for at in range(0, len(text), chunk) for one in splitter.feed(text[at : at + chunk])]
    assert found == [Line(text[:-1], size)]


def test_printable_text_of_any_script_stays_as_it_is() -> None:
    for text in ("ascii", "Grüße", "日本語", "emoji 👩\u200d💻", "עברית", "\u00a0"):
        assert visible(text) == text


def test_thousands_of_lines_a_second_are_no_effort() -> None:
    one = line(MESSAGE="a line as they come" * 3, PRIORITY="6", _PID="1", _SYSTEMD_UNIT="a.service")
    began = time.perf_counter()
    for _ in range(20_000):
        parse(one)
    assert time.perf_counter() - began < 20, "fewer than 1,000 entries a second"
