"""Using trained models: what they looked at."""
