"""What hosts fetch and post, below /agent/."""

from django.urls import path

from machines import agent_views

urlpatterns = [
    path("install.sh", agent_views.install_script, name="agent_install"),
    path("bundle.tar", agent_views.bundle, name="agent_bundle"),
    path("enrol", agent_views.enrol, name="agent_enrol"),
]
