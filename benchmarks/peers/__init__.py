"""The contestants' code. Each file imports its own library only, and runs in its own process.

A peer is a module with ``describe()``, ``use_threads(count)`` and ``build(case, arrays, variant,
threads)``, which gives a function without arguments that does the work once and returns its
outputs; or None where the peer has no such work. ``arrays`` is what ``case.arrays()`` gave.
"""
