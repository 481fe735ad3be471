"""Folders become versions: packed, inspected, stored, and switched to."""
