"""From a folder, archive or table to batches of aligned pictures."""
