"""Laying an infrared picture over a visible one, and saying how well that went."""
