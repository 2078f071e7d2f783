"""A server and all its tasks as processes of one machine."""
