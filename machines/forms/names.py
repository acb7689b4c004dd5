"""Names that are easy to say, remember and type."""

from __future__ import annotations

import secrets

_FIRST = """
amber bold brisk calm clear coral crisp deft early fair fleet fresh gentle glad golden green jolly keen kind light
lively lucky mellow merry mild neat nimble noble plain proud quick quiet ready royal silver smart snug solid spry
steady sunny swift tidy vivid warm wise young zesty
"""
_SECOND = """
alder aspen badger beech birch brook cedar clover comet crane delta dune elm falcon fern finch fjord flint fox gull
harbor hazel heron iris ivy juniper kestrel lark linden lotus lynx maple marten meadow moss oak orchid otter pine
plover quartz raven reed robin rowan sage spruce swan tern thistle tulip willow wren
"""
FIRST, SECOND = _FIRST.split(), _SECOND.split()


def suggest_name() -> str:
    """Two words and two digits, such as calm-otter-27: about a quarter of a million, so a clash is rare."""
    return f"{secrets.choice(FIRST)}-{secrets.choice(SECOND)}-{secrets.randbelow(90) + 10}"
