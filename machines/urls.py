"""Pages of containers and hosts."""

from django.urls import path

from machines.views import container, containers, create, dashboard, hosts, search, styleguide

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("search/", search.search, name="search"),
    path("styleguide/", styleguide.styleguide, name="styleguide"),
    path("styleguide/metrics.json", styleguide.styleguide_metrics, name="styleguide_metrics"),
    path("containers/", containers.container_list, name="container_list"),
    path("containers/bulk/", containers.container_bulk, name="container_bulk"),
    path("containers/new/", create.container_create, name="container_create"),
    path("containers/new/preview/", create.container_preview, name="container_preview"),
    path("containers/<uuid:pk>/", container.container_detail, name="container_detail"),
    path("containers/<uuid:pk>/terminal/", container.container_terminal, name="container_terminal"),
    path("containers/<uuid:pk>/terminal/ticket", container.terminal_ticket, name="terminal_ticket"),
    path("containers/<uuid:pk>/journal/", container.container_journal, name="container_journal"),
    path("containers/<uuid:pk>/settings/", container.container_settings, name="container_settings"),
    path("containers/<uuid:pk>/history/", container.container_history, name="container_history"),
    path("containers/<uuid:pk>/metrics.json", container.container_metrics, name="container_metrics"),
    path("containers/<uuid:pk>/password/", container.container_password, name="container_password"),
    path("containers/<uuid:pk>/<slug:act>/", container.container_act, name="container_act"),
    path("hosts/", hosts.host_list, name="host_list"),
    path("hosts/add/", hosts.host_add, name="host_add"),
    path("hosts/add/<int:token_id>/waiting/", hosts.host_waiting, name="host_waiting"),
    path("hosts/<uuid:pk>/", hosts.host_detail, name="host_detail"),
    path("hosts/<uuid:pk>/metrics.json", hosts.host_metrics, name="host_metrics"),
    path("hosts/<uuid:pk>/images/", hosts.image_build, name="image_build"),
    path("hosts/<uuid:pk>/adopt/", hosts.host_adopt, name="host_adopt"),
    path("hosts/<uuid:pk>/revoke/", hosts.host_revoke, name="host_revoke"),
]
