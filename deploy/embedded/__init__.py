"""Everything on one machine, under one supervisor, in one folder: what `./dev` runs. Standard library and Django."""
