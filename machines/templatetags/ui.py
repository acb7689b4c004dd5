"""What templates need to show a component: icons, slots, states, times, sizes. See docs/ui.md."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from teams.permissions import Permission, access_of

register = template.Library()


class Look(NamedTuple):
    """How a state is shown: never by colour alone, always icon and word. `tone`: ok, warn, bad, busy or calm."""

    tone: str
    icon: str
    label: str


LOOKS: dict[str, Look] = {
    # containers
    "creating": Look("busy", "loader-circle", "Creating"),
    "stopped": Look("calm", "circle-stop", "Stopped"),
    "starting": Look("busy", "loader-circle", "Starting"),
    "running": Look("ok", "circle-play", "Running"),
    "degraded": Look("warn", "triangle-alert", "Degraded"),
    "stopping": Look("busy", "loader-circle", "Stopping"),
    "failed": Look("bad", "circle-x", "Failed"),
    "missing": Look("warn", "circle-help", "Missing"),
    "removing": Look("busy", "loader-circle", "Removing"),
    "removed": Look("calm", "trash-2", "Removed"),
    # jobs (their `running` is `job-running`: at work, not healthy)
    "queued": Look("calm", "clock", "Queued"),
    "job-running": Look("busy", "loader-circle", "Running"),
    "cancelling": Look("busy", "loader-circle", "Cancelling"),
    "succeeded": Look("ok", "circle-check", "Succeeded"),
    "cancelled": Look("calm", "ban", "Cancelled"),
    # steps
    "pending": Look("calm", "circle-dashed", "To do"),
    "done": Look("ok", "circle-check", "Done"),
    "skipped": Look("calm", "circle-minus", "Skipped"),
    # hosts
    "online": Look("ok", "circle-check", "Online"),
    "offline": Look("bad", "circle-off", "Offline"),
    "revoked": Look("calm", "ban", "Revoked"),
    "waiting": Look("busy", "loader-circle", "Waiting"),
    "expired": Look("calm", "clock", "Expired"),
    # the doctor's checks
    "ok": Look("ok", "circle-check", "OK"),
    "warn": Look("warn", "triangle-alert", "Warning"),
    "fail": Look("bad", "circle-x", "Fails"),
}
UNKNOWN = Look("calm", "circle-help", "")


@register.filter
def look(state: object) -> Look:
    """The look of a state; an unknown one shows its own word, calmly."""
    key = str(state)
    return LOOKS.get(key) or UNKNOWN._replace(label=key.replace("_", " ").capitalize())


@register.filter
def job_look(state: object) -> Look:
    """As `look`, for a job or a step, whose `running` means at work."""
    return look("job-running" if str(state) == "running" else state)


@register.simple_tag
def icon(name: str, label: str = "", css: str = "") -> SafeString:
    """An icon of the sprite (static/icons.txt). Without `label` it is decoration, hidden from screen readers."""
    href = f"{static('dist/icons.svg')}#{name}"
    spoken = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html('<svg class="icon {}" {}><use href="{}"></use></svg>', css, spoken, href)


@register.simple_tag
def when(at: datetime | None, never: str = "–") -> SafeString:  # noqa: RUF001
    """A moment as relative time; the exact one, in the viewer's zone, on hover (static/js/times.js)."""
    if at is None:
        return format_html('<span class="muted">{}</span>', never)
    iso = at.astimezone(UTC).isoformat()
    return format_html('<time datetime="{}" data-relative title="{}">{}</time>', iso, iso, ago(at))


@register.filter
def ago(at: datetime) -> str:
    """`3 min ago`, `in 2 h`: the same words as static/js/times.js, so that nothing changes when it takes over."""
    seconds = (timezone.now() - at).total_seconds()
    past = seconds >= 0
    seconds = abs(seconds)
    if seconds < 10:
        return "just now" if past else "now"
    for limit, unit_seconds, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (86400 * 60, 86400, "d")):
        if seconds < limit:
            text = f"{int(seconds // unit_seconds)} {unit}"
            break
    else:
        text = (
            f"{int(seconds // (86400 * 30))} months" if seconds < 86400 * 730 else f"{int(seconds // 31557600)} years"
        )
    return f"{text} ago" if past else f"in {text}"


@register.filter
def span(value: timedelta | float | None) -> str:
    """A duration (timedelta or seconds) as `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`."""
    if value is None:
        return "–"  # noqa: RUF001
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


@register.filter
def size(value: object) -> str:
    """Bytes as GiB or MiB with three figures at most."""
    if not isinstance(value, int | float):  # None, or a template's "" for what is not there
        return "–"  # noqa: RUF001
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= factor:
            amount = value / factor
            return f"{amount:.0f} {unit}" if amount >= 100 or amount == int(amount) else f"{amount:.1f} {unit}"
    return f"{int(value)} B"


@register.filter
def first_open(items: list[Any]) -> Any:
    """The first item of a checklist that is not yet done, or None."""
    return next((one for one in items if not (one.get("done") if isinstance(one, dict) else one.done)), None)


class RailLink(NamedTuple):
    """A place of the left rail. `here`: the page shown lies there."""

    label: str
    icon: str
    url: str
    here: bool
    always: bool


RAIL = (
    ("Dashboard", "layout-dashboard", "dashboard", None),
    ("Containers", "box", "container_list", None),
    ("Jobs", "list-checks", "job_list", None),
    ("Images", "layers", "image_list", None),
    ("Archives", "archive", "archive_list", None),
    ("Hosts", "server", "host_list", None),
    ("Teams", "users", "team_list", None),
    ("Audit", "shield-check", "audit_list", Permission.AUDIT_VIEW),
)
BOTTOM_BAR = {"Dashboard", "Containers", "Jobs", "Hosts"}
"""What a telephone's bottom bar has room for; the rest is in its menu."""


@register.simple_tag(takes_context=True)
def rail(context: Context) -> list[RailLink]:
    """The places that exist and that this person may enter."""
    request = context.get("request")
    path = request.path if request is not None else ""
    user = getattr(request, "user", None)
    links = []
    for label, symbol, name, permission in RAIL:
        with suppress(NoReverseMatch):  # a place that a later version opens
            url = reverse(name)
            if permission is None or (user is not None and _anywhere(user, permission)):
                here = path == url if url == "/" else path.startswith(url)
                links.append(RailLink(label, symbol, url, here, label in BOTTOM_BAR))
    return links


def _anywhere(user: Any, permission: Permission) -> bool:
    """Whether a person has the permission on the site or in any team."""
    access = access_of(user)
    return permission in access.site or any(access.allowed(permission, team) for team in access.roles)


class SlotNode(template.Node):
    """Keeps its content under a name for the component around it."""

    def __init__(self, name: str, nodelist: NodeList) -> None:
        self.name = name
        self.nodelist = nodelist

    def render(self, context: Context) -> SafeString:
        context["component_slots"][self.name] = self.nodelist.render(context)
        return SafeString("")


class ComponentNode(template.Node):
    """Renders templates/components/NAME.html with its arguments, `body` and its slots."""

    def __init__(self, name: FilterExpression, arguments: dict[str, FilterExpression], nodelist: NodeList) -> None:
        self.name = name
        self.arguments = arguments
        self.nodelist = nodelist

    def render(self, context: Context) -> SafeString:
        values: dict[str, Any] = {key: value.resolve(context) for key, value in self.arguments.items()}
        slots: dict[str, str] = {}
        with context.push(component_slots=slots):
            body = self.nodelist.render(context)
        found = context.template.engine.get_template(f"components/{self.name.resolve(context)}.html")  # type: ignore[union-attr]
        with context.push(**values, **slots, body=body):
            return found.render(context)


@register.tag
def component(parser: Parser, token: Token) -> ComponentNode:
    """`{% component "dialog" id="x" title="…" %}body{% slot actions %}…{% endslot %}{% endcomponent %}`."""
    bits = token.split_contents()[1:]
    if not bits:
        raise template.TemplateSyntaxError("component wants a name, as {% component 'dialog' id='x' %}")
    name = parser.compile_filter(bits.pop(0))
    arguments = token_kwargs(bits, parser)
    if bits:
        raise template.TemplateSyntaxError(f"component takes name=value arguments, not {bits[0]!r}")
    nodelist = parser.parse(("endcomponent",))
    parser.delete_first_token()
    return ComponentNode(name, arguments, nodelist)


@register.tag
def slot(parser: Parser, token: Token) -> SlotNode:
    """A named part of the component around it."""
    try:
        _, name = token.split_contents()
    except ValueError as error:
        raise template.TemplateSyntaxError("slot wants one name, as {% slot actions %}") from error
    nodelist = parser.parse(("endslot",))
    parser.delete_first_token()
    return SlotNode(name, nodelist)
