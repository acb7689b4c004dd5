"""Pages of teams and of one's own profile."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Count, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.text import slugify
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from audit.http import AuthedRequest, render_page
from teams.errors import Invalid, PortalError
from teams.forms import MemberForm, RoleForm, TeamForm, TokenForm
from teams.models import ApiToken, Membership, Role, Team
from teams.permissions import Permission, access_of, require, teams_with
from teams.services import members, tokens


def visible_teams(user: User) -> QuerySet[Team]:
    return teams_with(user, Permission.TEAM_VIEW)


@require_http_methods(["GET", "POST"])
def team_list(request: AuthedRequest) -> HttpResponse:
    can_create = access_of(request.user).allowed(Permission.TEAM_MANAGE)
    form = TeamForm(request.POST if request.method == "POST" else None)
    if form.is_bound:
        require(request.user, Permission.TEAM_MANAGE)
        if form.is_valid():
            name = form.cleaned_data["name"]
            team = members.team_create(by=request.user, name=name, slug=slugify(name))
            return redirect("team_detail", team.slug)
    roles = dict(Membership.objects.filter(user=request.user).values_list("team_id", "role"))
    teams = visible_teams(request.user).annotate(member_count=Count("memberships", distinct=True))
    rows = [{"team": team, "role": Role(roles[team.pk]).label if team.pk in roles else ""} for team in teams]
    context = {"rows": rows, "form": form, "can_create": can_create}
    return render_page(request, "teams/team_list.html", context, status=422 if form.is_bound else 200)


def team_or_404(request: AuthedRequest, slug: str) -> Team:
    return get_object_or_404(visible_teams(request.user), slug=slug)


@require_http_methods(["GET", "POST"])
def team_detail(request: AuthedRequest, slug: str) -> HttpResponse:
    """The members; a POST takes somebody in."""
    team = team_or_404(request, slug)
    form = MemberForm(request.POST if request.method == "POST" else None)
    if form.is_bound:
        require(request.user, Permission.TEAM_MANAGE, team)
        if form.is_valid():
            try:
                added = members.member_add(by=request.user, team=team, **form.cleaned_data)
            except PortalError as error:
                form.add_error(
                    error.field if isinstance(error, Invalid) and error.field in form.fields else "username", str(error)
                )
            else:
                messages.success(request, f"{added.user} is in {team.name} now, as {added.get_role_display()}.")
                return redirect("team_detail", team.slug)
    context: dict[str, Any] = {
        "team": team,
        "members": list(team.memberships.select_related("user").order_by("user__username")),
        "form": form,
        "roles": Role.choices,
        "can_manage": access_of(request.user).allowed(Permission.TEAM_MANAGE, team.pk),
    }
    return render_page(request, "teams/team_detail.html", context, status=422 if form.is_bound else 200)


def _member_or_404(request: AuthedRequest, slug: str, pk: int) -> Membership:
    members_of = Membership.objects.select_related("user", "team")
    return get_object_or_404(members_of, team=team_or_404(request, slug), pk=pk)


@require_POST
def member_role(request: AuthedRequest, slug: str, pk: int) -> HttpResponse:
    membership = _member_or_404(request, slug, pk)
    form = RoleForm(request.POST)
    changed = members.member_set_role(
        by=request.user, membership=membership, role=form.cleaned_data["role"] if form.is_valid() else ""
    )
    messages.success(request, f"{changed.user} is {changed.get_role_display()} in {changed.team} now.")
    return redirect("team_detail", slug)


@require_POST
def member_remove(request: AuthedRequest, slug: str, pk: int) -> HttpResponse:
    membership = _member_or_404(request, slug, pk)
    members.member_remove(by=request.user, membership=membership)
    messages.success(request, f"{membership.user} is no longer in {membership.team}.")
    if membership.user_id == request.user.pk:
        return redirect("team_list")
    return redirect("team_detail", slug)


@require_http_methods(["GET", "POST"])
@sensitive_variables("plain")
def profile(request: AuthedRequest) -> HttpResponse:
    """One's tokens and roles. A new token is in the answer to its making, and never again."""
    form = TokenForm(request.POST if request.method == "POST" else None)
    plain = ""
    if form.is_bound and form.is_valid():
        _token, plain = tokens.api_token_create(
            by=request.user, user=request.user, name=form.cleaned_data["name"], expires_at=form.expires_at()
        )
        form = TokenForm()
    context = {
        "form": form,
        "plain": plain,
        "tokens": list(ApiToken.objects.filter(user=request.user).order_by("-created_at")),
        "memberships": list(request.user.memberships.select_related("team").order_by("team__name")),
        "site_roles": [role.get_role_display() for role in request.user.site_roles.all()],
    }
    return render_page(request, "teams/profile.html", context, status=422 if form.is_bound else 200)


@require_POST
def token_revoke(request: AuthedRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=pk, user=request.user)
    tokens.api_token_revoke(by=request.user, token=token)
    messages.success(request, f"The token {token.name} is revoked; what used it can no longer log in.")
    return redirect("profile")
