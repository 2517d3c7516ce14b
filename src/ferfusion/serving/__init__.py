"""A model served to people and programs: an API, and a page that needs nothing else."""
