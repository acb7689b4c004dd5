"""The list over all hosts, and the commands that a create will run."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agent.operations import recipe
from contract.releases import BuildTool
from machines.models import Container, Host, Release
from machines.preview import create_commands
from machines.selectors import container_list
from machines.services.containers import CreateSpec
from tests.factories import BaseImageFactory, ContainerFactory, HostFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ("owner", True),
        ("teammate", True),
        ("viewer", True),
        ("team_admin", True),
        ("operator", True),
        ("auditor", True),
        ("stranger", False),
    ],
)
def test_containers_are_visible_to_the_team_and_site_roles(
    who: str, sees: bool, container: Container, request: pytest.FixtureRequest
) -> None:
    user = request.getfixturevalue(who)
    assert (container in container_list(user)) is sees
    assert Container.objects.visible_to(user).exists() is sees


def test_removed_ones_are_in_no_list_but_keep_their_page(owner: User, container: Container) -> None:
    Container.objects.update(removed_at=timezone.now())
    assert not container_list(owner).exists() and Container.objects.visible_to(owner).exists()


@pytest.mark.parametrize("q", ["web", "WEB1", "srv1", "bookworm", "owner", "192.168.31", "web srv1 owner", " web1  "])
def test_every_word_finds_it_by_name_host_team_owner_release_or_address(
    q: str, owner: User, container: Container
) -> None:
    assert list(container_list(owner, q=q)) == [container]


@pytest.mark.parametrize("q", ["db", "web other", "%", "_"])
def test_other_words_do_not(q: str, owner: User, container: Container) -> None:
    assert not container_list(owner, q=q).exists()


def test_filters_narrow(owner: User, teammate: User, container: Container) -> None:
    theirs = ContainerFactory(team=container.team, owner=teammate, host=HostFactory(), state="stopped", name="a1")
    assert list(container_list(owner)) == [theirs, container]
    assert list(container_list(owner, mine=True)) == [container]
    assert list(container_list(owner, state="stopped")) == [theirs]
    assert list(container_list(owner, host=theirs.host)) == [theirs]
    assert list(container_list(owner, team=container.team, q="web1")) == [container]


def test_a_list_costs_the_same_for_one_and_for_many(
    owner: User, container: Container, django_assert_num_queries: Any
) -> None:
    ContainerFactory.create_batch(20, team=container.team, owner=owner, host=container.host)
    with django_assert_num_queries(3):
        assert len([(c.host.name, c.team.name, c.owner, c.release) for c in container_list(owner)]) == 21


def test_hosts_are_seen_by_whoever_is_in_a_team(stranger: User, host: Host) -> None:
    assert Host.objects.visible_to(stranger).exists()
    assert not Host.objects.visible_to(UserFactory()).exists()


def option(argv: list[str], name: str) -> str:
    return next(word for word in argv if word.startswith(f"--{name}="))


@pytest.mark.parametrize("tool", list(BuildTool))
@pytest.mark.parametrize("slug", ["debian-bullseye", "debian-trixie", "ubuntu-jammy", "ubuntu-noble"])
def test_the_preview_says_what_the_agent_will_run(
    tool: BuildTool,
    slug: str,
    host: Host,
    releases_that_come_along: None,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe, "keyring", lambda release: recipe._KEYRINGS[release.distribution])
    release = Release.objects.get(slug=slug)
    release.tool, release.packages = tool, ["vim"]
    shown = create_commands(CreateSpec(name="x", release=release), host)[0].split()
    run = recipe.argv(release.spec(), tmp_path)
    assert shown[0] == run[0]
    for name in ("include", "variant", "components"):
        assert option(shown, name) == option(run, name)
    assert release.suite in shown and release.suite in run


def test_the_preview_of_a_built_release_is_a_clone(host: Host, release: Release) -> None:
    BaseImageFactory(host=host, slug=release.slug, name="nspawnweb-base-debian-bookworm-12345678")
    assert create_commands(CreateSpec(name="web9", release=release, autostart=True), host) == [
        "machinectl clone nspawnweb-base-debian-bookworm-12345678 web9",
        "editor /etc/systemd/nspawn/web9.nspawn",
        "editor /etc/systemd/system/systemd-nspawn@web9.service.d/50-nspawnweb.conf",
        "machinectl enable web9",
        "systemctl start systemd-nspawn@web9.service",
    ]


def test_the_preview_shows_no_password(host: Host, release: Release) -> None:
    spec = CreateSpec(name="x", release=release, root_password="correct horse")
    assert "correct" not in " ".join(create_commands(spec, host))
