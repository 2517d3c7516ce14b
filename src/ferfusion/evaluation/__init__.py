"""From predictions to numbers one can trust. No torch but in `collect`."""
