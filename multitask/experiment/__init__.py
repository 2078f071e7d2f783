"""The thesis's table 4.3 at the size of a laptop."""
