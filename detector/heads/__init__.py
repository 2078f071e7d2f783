"""Heads: maps in, predictions out; each knows its targets and its losses."""
