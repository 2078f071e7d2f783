"""Pages that show what was learned, each one file that needs no network."""
