"""Pages by cursor: a page costs the same at the end of a long list as at its start, and new rows shift nothing."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

PAGE_SIZE = 50

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Page(Generic[M]):
    """Some rows, with cursors to the neighbours; an empty cursor means there is none."""

    rows: list[M] = field(default_factory=list)
    next: str = ""
    previous: str = ""

    def __len__(self) -> int:
        return len(self.rows)


def page_of(
    queryset: QuerySet[M], order: Sequence[str], *, after: str = "", before: str = "", size: int = PAGE_SIZE
) -> Page[M]:
    """The page after (or before) a cursor; a mangled one gives the first page. `order` must end with a unique field."""
    back = bool(before) and not after
    values = _decode(queryset.model, order, before if back else after)
    steps = [_flip(name) for name in order] if back else list(order)
    found = queryset.order_by(*steps)
    if values is not None:
        found = found.filter(_beyond(steps, values))
    rows = list(found[: size + 1])
    more, rows = len(rows) > size, rows[:size]
    if back:
        rows.reverse()
    has_next = more if not back else values is not None
    has_previous = (more if back else values is not None) and bool(rows)
    return Page(
        rows,
        next=_encode(order, rows[-1]) if rows and has_next else "",
        previous=_encode(order, rows[0]) if has_previous else "",
    )


def _flip(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def _beyond(order: Sequence[str], values: Sequence[Any]) -> Q:
    """(a > x) or (a = x and b > y) …, which every database answers from the index of the order."""
    found, equal = Q(), Q()
    for name, value in zip(order, values, strict=True):
        column = name.lstrip("-")
        found |= equal & Q(**{f"{column}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal &= Q(**{column: value})
    return found


def _encode(order: Sequence[str], row: Model) -> str:
    values = [str(getattr(row, name.lstrip("-"))) for name in order]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decode(model: type[Model], order: Sequence[str], cursor: str) -> list[Any] | None:
    if not cursor or len(cursor) > 1000:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(order):
            return None
        return [
            model._meta.get_field(name.lstrip("-")).to_python(value)  # type: ignore[union-attr]
            for name, value in zip(order, values, strict=True)
        ]
    except (ValueError, TypeError, binascii.Error, ValidationError):
        return None
