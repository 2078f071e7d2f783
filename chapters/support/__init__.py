"""What several chapters need and none explains: how figures look, and where photographs are."""
