"""Many models on one data set, compared."""
