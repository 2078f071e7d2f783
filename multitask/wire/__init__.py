"""Messages as bytes, who may send them, and where they go."""
