"""What the portal hands out to hosts: the agent's wheel, every wheel it needs, and the installer."""
