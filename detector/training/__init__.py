"""From a data set to a trained detector in a run folder."""
