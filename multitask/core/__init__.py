"""The arithmetic of the parameter server, without clock, socket or file."""
