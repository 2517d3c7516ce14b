"""Pixels in, logits out."""
