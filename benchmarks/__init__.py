"""Speed and memory, side by side with PyTorch and other runtimes; README.md says how to read it.

Part of the repository, not of the installed packages. Importing it imports none of the peers.
"""
