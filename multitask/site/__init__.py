"""A task's end of the connection, and what a task is."""
