"""Numbers that all contestants use alike."""

LEARNING_RATE = 0.001
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
CLIP_NORM = 10.0
