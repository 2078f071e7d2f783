"""What detectors are made of that holds no weights: arrays in, arrays out, one step a file."""
