"""State of the window without widgets: what is shown, what a gesture does. The only callers of services."""
