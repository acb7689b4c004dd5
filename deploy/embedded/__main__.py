"""`python -m deploy.embedded COMMAND …`: what `./dev` hands over to."""

import sys

from deploy.embedded.cli import main

sys.exit(main())
