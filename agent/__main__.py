"""`python -m agent`: the same as the program nspawnweb-agent."""

import sys

from agent.cli import main

sys.exit(main())
