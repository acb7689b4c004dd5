"""What a terminal showed, fit to be shown again."""

from __future__ import annotations

import re

_STRING_END = rb"(?:\x07|\x1b\\)"
_ASKS = re.compile(
    rb"\x1b\[[>=?]?[0-9;]*c"  # device attributes: DA1, DA2, DA3
    rb"|\x1b\[\??[0-9;]*n"  # device status and cursor position: DSR, CPR
    rb"|\x1b\[\??[0-9;]*\$p"  # mode: DECRQM
    rb"|\x1b\[[0-9;]*x"  # parameters: DECREQTPARM
    rb"|\x1b\[>[0-9;]*q"  # version: XTVERSION
    rb"|\x1b\[\?[0-9;]*u"  # keyboard flags (kitty)
    rb"|\x1b\[(?:1[1-9]|2[01])(?:;[0-9]*)*t"  # window size and title: XTWINOPS reports
    rb"|\x1b\]1?[0-9];(?:[0-9]+;)?\?" + _STRING_END +  # colours: OSC 4, 10 to 19
    rb"|\x1b\]52;[a-z0-9]*;\?" + _STRING_END +  # the clipboard: OSC 52
    rb"|\x1bP[+$]q[^\x1b\x07]*" + _STRING_END +  # settings and termcap: DECRQSS, XTGETTCAP
    rb"|\x1bZ|\x05"  # DECID, ENQ
)  # fmt: skip
"""Questions that a terminal answers by itself (xterm's ctlseqs.txt).

Asked again by a replay, the answers would arrive as if typed into a program that waits for none.
"""


def replayed(data: bytes, limit: int) -> bytes:
    """The last `limit` bytes from the start of a line on, without questions to the terminal."""
    if len(data) > limit:
        data = data[-limit:]
        data = data[data.find(b"\n") + 1 :]
    return _ASKS.sub(b"", data)
