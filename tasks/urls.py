"""Pages of jobs."""

from django.urls import path

from tasks import views

urlpatterns = [
    path("jobs/", views.job_list, name="job_list"),
    path("jobs/running/", views.job_running, name="job_running"),
    path("jobs/<uuid:pk>/", views.job_detail, name="job_detail"),
    path("jobs/<uuid:pk>/cancel/", views.job_cancel, name="job_cancel"),
    path("jobs/<uuid:pk>/give-up/", views.job_give_up, name="job_give_up"),
    path("jobs/<uuid:pk>/retry/", views.job_retry, name="job_retry"),
]
