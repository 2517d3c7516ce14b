"""Faces in pictures: found, judged, and cut out alike in every modality."""
