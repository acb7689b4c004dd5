"""The host agent: runs signed orders on a systemd host and reports what it sees. No Django, no shell strings."""

VERSION = "0.1.0"
"""Same as the portal's; the portal serves the agent that fits it."""
