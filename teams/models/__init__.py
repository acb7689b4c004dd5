from teams.models.access import SiteRole, SiteRoleName
from teams.models.team import Membership, Role, Team
from teams.models.token import ApiToken

__all__ = ["ApiToken", "Membership", "Role", "SiteRole", "SiteRoleName", "Team"]
