"""Faces of people who do not exist: pictures in light and temperature, drawn from numbers."""
