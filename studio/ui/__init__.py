"""Widgets: they read view-models, call their methods, and know no service."""
