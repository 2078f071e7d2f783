"""Detectors: a backbone, necks and heads put together, with one way to train and one to predict."""
