"""Pictures as numpy arrays: files, palettes, drawn faces. No torch."""
