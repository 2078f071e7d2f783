"""The interpreter of compiled networks: a table of steps, done in one call."""
