"""The exercises of the chapters, ``chapter_NN.py`` each, and how they answer (``exercise.py``)."""
