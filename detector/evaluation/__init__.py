"""How good a detector is: detections as COCO writes them, figures, pictures to look at."""
