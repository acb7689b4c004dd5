"""The page of the audit trail."""

from django.urls import path

from audit.views import audit_list

urlpatterns = [path("audit/", audit_list, name="audit_list")]
