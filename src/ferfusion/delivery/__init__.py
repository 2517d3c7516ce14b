"""A trained model goes out: exported with its proof and its card, to a folder, a file or a hub."""
