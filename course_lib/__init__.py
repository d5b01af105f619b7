"""Deep generative models for sound: the tested building blocks that the course's notebooks import.

Importing this package imports nothing else (`course doctor` has to start where everything else is broken); import what
you need from its rooms, e.g. `from course_lib.clips import load_clips`.
"""

__version__ = "0.1.0"
