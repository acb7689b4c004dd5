"""Logging to the journal: one line an entry, priority prefix of sd-daemon(3), and the job it belongs to."""

from __future__ import annotations

import logging
import os
import sys
from contextvars import ContextVar

job_id: ContextVar[str] = ContextVar("job_id", default="")
"""Set while a job runs; every line logged meanwhile carries it."""

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class JournalFormatter(logging.Formatter):
    """`<6>job=… agent.jobs: text`; further lines of a traceback keep the priority."""

    def __init__(self, *, prefix: bool) -> None:
        super().__init__("%(name)s: %(message)s")
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if job := job_id.get():
            text = f"job={job} {text}"
        if not self._prefix:
            return text
        mark = f"<{_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(mark + line for line in text.splitlines())


def setup(level: int = logging.INFO) -> None:
    """Log to standard error, which systemd takes to the journal."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter(prefix="JOURNAL_STREAM" in os.environ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The runner says more of a job than Celery does.
    for noisy in ("httpx", "httpcore", "kombu", "amqp", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
