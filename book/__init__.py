"""Executes the chapters, and makes one web site of them.

``python -m book.execute`` executes every chapter into ``build/chapters`` and complains about what a
reader would stumble over; ``python -m book`` renders what lies there into ``build/book``,
and makes a reference of the packages' docstrings beside it.
"""
