"""A fake host that speaks contract.live, and a browser that opens sockets."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import redis as redis_py
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.contrib.auth.models import User
from django.test import Client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from contract import keys
from contract.live import Envelope, JournalEntry, Out, SignedRequest
from machines.models import Host
from tasks import pki

WAIT_S = 10.0


def wait_for(probe: Callable[[], Any], what: str = "it") -> Any:
    """The first true answer; fails after WAIT_S."""
    end = time.monotonic() + WAIT_S
    while not (answer := probe()):
        assert time.monotonic() < end, f"waited {WAIT_S:g} s for {what}"
        time.sleep(0.01)
    return answer


class FakeHost:
    """Answers journal and terminal requests of one host as the agent does: by the stream of the session.

    `journal` is what its only container's journal holds. A terminal echoes what is typed, in capitals.
    """

    def __init__(self, host: Host, url: str) -> None:
        self.host = host
        self.redis = redis_py.Redis.from_url(url)
        self.requests: list[Any] = []
        self.journal: list[JournalEntry] = []
        self.sessions: list[UUID] = []
        self.greeting = b"welcome\r\n# "
        self._key: Ed25519PublicKey = pki.live_key().public_key()
        self._seqs: dict[UUID, int] = {}
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over = True
        self._thread.join(WAIT_S)
        self.redis.close()

    def asked(self, kind: str) -> list[Any]:
        return [request for request in self.requests if request.kind == kind]

    def out(self, session: UUID, **fields: Any) -> None:
        data = Out(**fields).model_dump_json(exclude_none=True)
        self.redis.xadd(keys.live_out(self.host.pk, session), {keys.FIELD: data}, maxlen=keys.LIVE_OUT_MAX)

    def lease(self, session: UUID) -> int:
        """Seconds that it still lives; -2 if it is gone."""
        return int(self.redis.ttl(keys.lease(self.host.pk, session)))

    def log(self, *messages: str) -> None:
        """New entries; whoever follows gets them."""
        entries = [self._entry(message) for message in messages]
        self.journal += entries
        for session in self.sessions:
            self.out(session, entries=entries)

    def _entry(self, message: str) -> JournalEntry:
        number = len(self.journal) + 1 if not message.isdigit() else int(message)
        return JournalEntry(cursor=f"c={number}-{message}", at=number * 1_000_000, message=message)

    def _run(self) -> None:
        position = "0-0"
        while not self._over:
            answer: Any = self.redis.xread({keys.live_in(self.host.pk): position}, block=50)
            entries = [
                pair for _, pairs in (answer.items() if isinstance(answer, dict) else answer or []) for pair in pairs
            ]
            for pair in entries:
                for ident, fields in pair if isinstance(pair, list) else [pair]:
                    position = ident.decode()
                    self._obey(fields[keys.FIELD.encode()])

    def _obey(self, raw: bytes) -> None:
        envelope = Envelope.model_validate_json(raw)
        self._key.verify(base64.b64decode(envelope.signature), envelope.payload.encode())
        signed = SignedRequest.model_validate_json(envelope.payload)
        assert signed.host == self.host.pk
        request: Any = signed.request
        self.requests.append(request)
        if request.kind == "journal.follow":
            after = [entry.cursor for entry in self.journal]
            start = after.index(request.cursor) + 1 if request.cursor else max(0, len(after) - request.lines)
            if self.journal[start:]:
                self.out(request.session, entries=self.journal[start:])
            self.sessions.append(request.session)
        elif request.kind == "terminal.open":
            self._seqs[request.session] = 0
            self.out(request.session, data=base64.b64encode(self.greeting).decode())
        elif request.kind == "terminal.input" and request.seq > self._seqs[request.session]:
            self._seqs[request.session] = request.seq
            typed = base64.b64decode(request.data)
            self.out(request.session, data=base64.b64encode(typed.upper()).decode())
        elif request.kind == "session.close":
            self.out(request.session, closed="It was closed.")


class Browser:
    """A browser of one person: a session cookie, and sockets with the right Origin."""

    def __init__(self, address: str, user: User | None) -> None:
        self.address = address
        self.client = Client()
        if user is not None:
            self.client.force_login(user)

    @property
    def session_key(self) -> str:
        return str(self.client.session.session_key)

    def open(self, path: str, *, origin: str | None = "", cookie: bool = True) -> ClientConnection:
        """`origin` "" is the portal's own; None sends none. Raises InvalidStatus if the handshake is refused."""
        morsel = self.client.cookies.get("sessionid")
        headers = {"Cookie": f"sessionid={morsel.value}"} if morsel and cookie else {}
        own = f"http://{self.address}" if origin == "" else origin
        return connect(
            f"ws://{self.address}{path}",
            origin=own,  # type: ignore[arg-type]
            additional_headers=headers,
            max_size=None,
            open_timeout=WAIT_S,
        )


def told(socket: ClientConnection) -> Any:
    """The next text message, read."""
    message = socket.recv(timeout=WAIT_S)
    assert isinstance(message, str), message
    return json.loads(message)


def closed(socket: ClientConnection) -> tuple[str, int]:
    """The word and the code with which the portal closes; what comes before is skipped."""
    word = ""
    try:
        while True:
            message = socket.recv(timeout=WAIT_S)
            if isinstance(message, str):
                word = json.loads(message).get("code", word)
    except ConnectionClosed as error:
        assert error.rcvd is not None
        return word, error.rcvd.code
