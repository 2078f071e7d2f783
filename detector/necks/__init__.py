"""Necks: the backbone's maps in, the maps that heads read out."""
