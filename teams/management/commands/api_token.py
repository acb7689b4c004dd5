"""`api_token USER [--name NAME]`: a new API token, printed as the last word."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from teams.errors import PortalError
from teams.services.tokens import api_token_create


class Command(BaseCommand):
    help = "Make an API token for a person; the last word of the output is the token, shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--name", default="command line")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        try:
            token, plain = api_token_create(by=None, user=user, name=options["name"])
        except PortalError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Token {token.name!r} of {user.get_username()}, shown this once: {plain}")
