"""The interface's parts: what they render, and what no template may hold."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template import Context, Engine, Template, TemplateSyntaxError
from django.test import Client
from django.utils import timezone

from machines.models import ContainerState
from machines.templatetags import ui
from tasks.models import JobState

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
ICONS = {line for line in (ROOT / "static/icons.txt").read_text().split("\n") if line and not line.startswith("#")}


def render(source: str, **context: Any) -> str:
    return Template("{% load ui %}" + source).render(Context(context))


def include(name: str, **context: Any) -> str:
    return Engine.get_default().get_template(f"components/{name}.html").render(Context(context))


# --- templates ---


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_what_the_content_security_policy_refuses(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?https?://""", text)


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    source = "\n".join(path.read_text() for path in TEMPLATES)
    named = set(re.findall(r"""icon "([a-z0-9-]+)\"""", source)) | set(re.findall(r'icon="([a-z0-9-]+)"', source))
    named |= {look.icon for look in ui.LOOKS.values()} | {row[1] for row in ui.RAIL}
    assert named - ICONS == set()


def test_every_icon_that_a_script_names_is_in_the_sprite() -> None:
    scripts = "\n".join(path.read_text() for path in (ROOT / "static/js").glob("*.js"))
    assert set(re.findall(r'icon\("([a-z0-9-]+)"', scripts)) - ICONS == set()


def test_the_lock_file_holds_hashes_and_no_addresses_of_packages() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: data for name, data in lock["packages"].items() if name}
    assert packages
    assert all(data.get("integrity", "").startswith("sha512-") for data in packages.values())
    assert not any("resolved" in data for data in packages.values())


# --- states ---


@pytest.mark.parametrize("state", ContainerState.values)
def test_each_container_state_has_icon_and_word(state: str) -> None:
    html = include("badge", state=state)
    assert f"#{ui.LOOKS[state].icon}" in html
    assert ContainerState(state).label in html


@pytest.mark.parametrize("state", JobState.values)
def test_each_job_state_has_icon_and_word(state: str) -> None:
    assert JobState(state).label in include("badge", state=state, job=True)


def test_a_running_job_is_at_work_and_a_running_container_is_well() -> None:
    assert ui.look("running").tone == "ok"
    assert ui.job_look("running").tone == "busy"


def test_an_unknown_state_shows_its_own_word() -> None:
    assert "Half baked" in include("badge", state="half_baked")


# --- words ---


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "just now"),
        (59, "59 s ago"),
        (185, "3 min ago"),
        (3 * 3600 + 5, "3 h ago"),
        (86400 * 3, "3 d ago"),
        (86400 * 90, "3 months ago"),
        (86400 * 800, "2 years ago"),
        (-7300, "in 2 h"),
    ],
)
def test_times_are_relative(seconds: float, words: str) -> None:
    assert ui.ago(timezone.now() - timedelta(seconds=seconds)) == words


def test_when_gives_the_exact_moment_too() -> None:
    html = render("{% when at %}", at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    assert 'datetime="2026-03-01T12:00:00+00:00"' in html


def test_when_says_never() -> None:
    assert "never seen" in render('{% when at "never seen" %}', at=None)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.44, "0.4 s"), (12, "12 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (timedelta(days=4, hours=3), "4 d 3 h")],
)
def test_durations(value: float | timedelta, words: str) -> None:
    assert ui.span(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "\N{EN DASH}"), (512, "512 B"), (260 << 20, "260 MiB"), (3 << 29, "1.5 GiB"), (2 << 40, "2 TiB")],
)
def test_sizes(value: int | None, words: str) -> None:
    assert ui.size(value) == words


# --- parts ---


def test_a_component_takes_arguments_body_and_slots() -> None:
    html = render(
        '{% component "section" title=name %}<p>{{ name }}</p>'
        "{% slot actions %}<b>act</b>{% endslot %}{% endcomponent %}",
        name="<Jobs>",
    )
    assert "<h2>&lt;Jobs&gt;</h2>" in html
    assert "<p>&lt;Jobs&gt;</p>" in html
    assert html.index("<b>act</b>") < html.index("section-body")


def test_components_nest_without_mixing_their_slots() -> None:
    html = render(
        '{% component "section" title="outer" %}{% component "section" title="inner" %}x'
        "{% slot actions %}in{% endslot %}{% endcomponent %}{% endcomponent %}"
    )
    assert html.count("section-actions") == 1


def test_a_component_without_a_name_is_a_mistake_of_the_template() -> None:
    with pytest.raises(TemplateSyntaxError, match="wants a name"):
        render("{% component %}{% endcomponent %}")


def test_a_confirm_wants_the_word_typed_and_posts_with_a_token() -> None:
    html = render(
        '{% component "confirm" id="c" title="Remove?" type="web1" post="/x/" label="Go" %}{% endcomponent %}',
        csrf_token="tok",
    )
    assert 'data-confirm="web1"' in html
    assert 'value="tok"' in html
    assert re.search(r'<button type="submit"[^>]* disabled>', html)


def test_a_confirm_without_a_word_is_ready() -> None:
    html = render('{% component "confirm" id="c" title="Cancel?" post="/x/" label="Cancel job" %}{% endcomponent %}')
    assert not re.search(r'<button type="submit"[^>]* disabled>', html)


def test_an_alert_has_three_parts() -> None:
    html = include("alert", what="What happened.", why="Why.", hint="Do this.")
    assert [html.index(word) for word in ("What happened.", "Why.", "Do this.")] == sorted(
        html.index(word) for word in ("What happened.", "Why.", "Do this.")
    )
    assert 'role="alert"' in html


def test_a_command_is_text() -> None:
    html = include("command", line="echo <b>$HOME</b>")
    assert "echo &lt;b&gt;$HOME&lt;/b&gt;" in html
    assert 'data-prompt="#"' in html


def test_a_command_may_have_no_prompt() -> None:
    assert 'data-prompt=""' in include("command", line="token", prompt="")


def test_the_current_tab_is_marked() -> None:
    tabs = [{"label": "Overview", "url": "/a/", "active": True}, {"label": "Terminal", "url": "/b/"}]
    html = include("tabs", tabs=tabs)
    assert html.count('aria-current="page"') == 1


def test_only_the_first_open_step_of_a_checklist_offers_its_verb() -> None:
    items = [
        {"title": "one", "done": True, "url": "/1/", "verb": "One"},
        {"title": "two", "url": "/2/", "verb": "Two"},
        {"title": "three", "url": "/3/", "verb": "Three"},
    ]
    html = include("checklist", items=items)
    assert 'href="/2/"' in html
    assert 'href="/1/"' not in html
    assert 'href="/3/"' not in html


def test_progress_that_nobody_can_know_has_no_value() -> None:
    assert "value=" not in include("progress", value=None)
    assert 'value="0.0000"' in include("progress", value=0.0)


# --- the style guide ---


@pytest.mark.django_db
def test_staff_see_every_part(client: Client) -> None:
    client.force_login(User.objects.create_user("staff", is_staff=True))
    page = client.get("/styleguide/")
    assert page.status_code == 200
    assert client.get("/styleguide/metrics.json").json()["limits"]["cpu"] == 4


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/styleguide/", "/styleguide/metrics.json"])
def test_others_do_not(client: Client, path: str) -> None:
    client.force_login(User.objects.create_user("nobody"))
    assert client.get(path).status_code in {302, 403, 404}
    client.logout()
    assert client.get(path).status_code == 302
