from teams.services.people import admin_ensure, home_team
from teams.services.tokens import api_token_create, api_token_revoke, token_user

__all__ = ["admin_ensure", "api_token_create", "api_token_revoke", "home_team", "token_user"]
