from tasks.models.event import JobEvent
from tasks.models.hostlink import HostLink
from tasks.models.job import Job, JobState
from tasks.models.terminal import TerminalSession

__all__ = ["HostLink", "Job", "JobEvent", "JobState", "TerminalSession"]
