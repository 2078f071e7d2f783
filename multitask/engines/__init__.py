"""The same tasks and the same update core on engines that others have built."""
