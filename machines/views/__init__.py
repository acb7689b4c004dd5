"""Pages of containers and hosts: a view reads the form, calls a service or selector, and renders or redirects."""
