from tasks.models.event import JobEvent
from tasks.models.job import Job, JobState
from tasks.models.terminal import TerminalSession

__all__ = ["Job", "JobEvent", "JobState", "TerminalSession"]
