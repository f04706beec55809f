"""Whether a device's answers can be believed, and what happens when they cannot."""
