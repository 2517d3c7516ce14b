"""Facial expression recognition from visible, thermal infrared and MSX pictures together."""
