"""The commands that ``lighthead`` has from this package, a module each."""
