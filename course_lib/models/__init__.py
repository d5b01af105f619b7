"""The course's model families, one file each."""
