"""From pictures as cameras leave them to a data set: aligned, cropped alike, complete."""
