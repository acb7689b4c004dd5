"""Ways to run nspawnweb."""
