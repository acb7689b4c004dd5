"""`ensure_admin`: the first person and the first team of a new portal."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from teams.services.people import admin_ensure


class Command(BaseCommand):
    help = (
        "Make the superuser admin and the team default unless they exist. The password comes from "
        "NSPAWNWEB_ADMIN_PASSWORD or, with --stdin, from the first line of standard input; one who exists keeps theirs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--stdin", action="store_true", help="read the password from standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        password = os.environ.get("NSPAWNWEB_ADMIN_PASSWORD", "")
        if options["stdin"]:
            password = sys.stdin.readline().rstrip("\n")
        if len(password) < 10:
            raise CommandError("Give a password of at least 10 characters by NSPAWNWEB_ADMIN_PASSWORD or --stdin.")
        user, made = admin_ensure(password=password)
        self.stdout.write(f"{user.get_username()}: {'made' if made else 'was there'}")
