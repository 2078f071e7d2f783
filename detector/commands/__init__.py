"""The commands of ``lighthead``, one file each."""
