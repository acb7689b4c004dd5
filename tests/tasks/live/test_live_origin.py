"""Whose pages may open a socket."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tasks.live.origin import allowed

SOCKETS = ["/ws/live/", "/ws/terminal/", "/ws/nothing/"]


@pytest.mark.parametrize(
    ("origin", "host", "fine"),
    [
        ("http://portal:8000", "portal:8000", True),
        ("http://portal", "portal", True),
        ("http://portal:80", "portal", True),
        ("https://portal", "portal", True),
        ("https://portal", "portal:443", True),
        ("http://PORTAL:8000", "portal:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://portal:8001", "portal:8000", False),
        ("http://portal", "portal:8000", False),
        ("http://evil:8000", "portal:8000", False),
        ("http://portal.evil:8000", "portal:8000", False),
        ("http://evil@portal:8000", "portal:8000", False),
        ("http://portal:8000/x", "portal:8000", False),
        ("ws://portal:8000", "portal:8000", False),
        ("null", "portal:8000", False),
        ("", "portal:8000", False),
        ("http://portal:x", "portal:8000", False),
        ("http://portal:99999", "portal:8000", False),
        ("http://", "", False),
        ("https://trusted.example:8443", "portal:8000", True),
        ("https://trusted.example", "portal:8000", False),
        ("http://trusted.example:8443", "portal:8000", False),
        ("https://a.sub.example", "portal:8000", True),
        ("https://subxexample", "portal:8000", False),
    ],
)
def test_the_same_host_and_trusted_origins_with_their_ports(origin: str, host: str, fine: bool, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example:8443", "https://*.sub.example"]
    assert allowed(origin, host) is fine


def test_a_host_that_is_not_ours_is_not_the_same_host(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS = ["portal"], []
    assert allowed("http://portal:8000", "portal:8000")
    assert not allowed("http://rebound:8000", "rebound:8000")


def test_foreign_pages_are_refused_at_the_handshake(visit: Any, owner: Any) -> None:
    for origin in ("http://evil.example", None, "null"):
        for path in SOCKETS:
            with pytest.raises(InvalidStatus) as error:
                visit(owner).open(path, origin=origin)
            assert error.value.response.status_code == 403, (origin, path)


def test_anonymous_is_refused_at_the_handshake(visit: Any, container: Any) -> None:
    paths = ["/ws/live/", "/ws/terminal/", f"/ws/containers/{container.pk}/journal/", f"/ws/jobs/{container.pk}/"]
    for path in paths:
        with pytest.raises(InvalidStatus) as error:
            visit(None).open(path)
        assert error.value.response.status_code == 403
