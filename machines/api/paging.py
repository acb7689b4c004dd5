"""Lists by cursor: signed, so that what comes back is what was given out, and a page costs the same anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

from django.core import signing
from django.db.models import Field, Model, Q, QuerySet
from django.http import HttpResponse
from ninja import Query
from pydantic import BaseModel
from pydantic import Field as Described

from teams.errors import Invalid

LIMIT = 100
LIMIT_MAX = 5000

NO_NUL = r"^[^\x00]*$"
"""PostgreSQL's texts cannot hold a NUL: asked for one, it is an error and not an empty answer."""
Text = Annotated[str, Query(default="", max_length=100, pattern=NO_NUL)]
Limit = Annotated[int, Query(default=LIMIT, ge=1, le=LIMIT_MAX, description="Most items in the answer.")]
Cursor = Annotated[str, Query(default="", max_length=1000, pattern=NO_NUL, description="`next` of the page before.")]

T = TypeVar("T", bound=BaseModel)


class Page(BaseModel, Generic[T]):
    """`next` is the cursor of the page that follows; null on the last one."""

    items: list[T]
    next: str | None = Described(default=None, description="Send it as `cursor` to go on.")


def reply(body: BaseModel, status: int = 200, *, location: str = "") -> HttpResponse:
    """The JSON of a model, written once: ninja would validate what is a validated model already."""
    response = HttpResponse(body.model_dump_json(), content_type="application/json", status=status)
    response["Cache-Control"] = "no-store"
    if location:
        response["Location"] = location
    return response


def page_rows(
    found: QuerySet[Any, Any],
    order: Sequence[str],
    columns: Sequence[str],
    joined: Mapping[str, Any],
    *,
    cursor: str,
    limit: int,
) -> tuple[list[dict[str, Any]], str | None]:
    """Up to `limit` rows as dicts of `columns` and `joined` (name -> expression), and the cursor after them.

    `order` names columns of the table, with `-` for falling, and ends with a unique one.
    """
    keys = [name.lstrip("-") for name in order]
    found = found.order_by(*order)
    if cursor:
        found = found.filter(_beyond(order, _read(found.model, keys, cursor)))
    rows = list(found.values(*keys, *columns, **joined)[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    return rows, _write(found.model, [rows[-1][key] for key in keys]) if more else None


def page(rows: tuple[list[dict[str, Any]], str | None], out: Callable[[dict[str, Any]], T], kind: type[T]) -> Page[T]:
    """The page of what `out` makes of each row."""
    items, following = rows
    return Page[kind](items=[out(row) for row in items], next=following)  # type: ignore[valid-type]


def _beyond(order: Sequence[str], values: Sequence[Any]) -> Q:
    """(a > x) or (a = x and b > y) …, which the index of the order answers."""
    found, equal = Q(), Q()
    for name, value in zip(order, values, strict=True):
        column = name.lstrip("-")
        found |= equal & Q(**{f"{column}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal &= Q(**{column: value})
    return found


def _salt(model: type[Model]) -> str:
    return f"api.cursor.{model._meta.label_lower}"


def _write(model: type[Model], values: Sequence[Any]) -> str:
    return signing.Signer(salt=_salt(model)).sign_object([str(value) for value in values])


def _read(model: type[Model], keys: Sequence[str], cursor: str) -> list[Any]:
    try:
        values = signing.Signer(salt=_salt(model)).unsign_object(cursor)
    except signing.BadSignature as error:
        raise Invalid(
            "bad_cursor",
            "The cursor is not one that this list gave out.",
            hint="Send `next` of the page before as it came, or no cursor to begin anew.",
            field="cursor",
        ) from error
    return [_column(model, key).to_python(value) for key, value in zip(keys, values, strict=True)]


def _column(model: type[Model], name: str) -> Field[Any, Any]:
    field = model._meta.get_field(name)
    assert isinstance(field, Field)  # noqa: S101 - `order` names columns
    return field
