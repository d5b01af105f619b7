"""Exercises of notebook 08, A network that remembers: a file each."""

from course_lib.exercises.ex08.elman import ELMAN_FORWARD
from course_lib.exercises.ex08.mixture import MIXTURE_LOG_LIKELIHOOD
from course_lib.exercises.ex08.through_time import BPTT_GRADIENT

EXERCISES = (ELMAN_FORWARD, BPTT_GRADIENT, MIXTURE_LOG_LIKELIHOOD)
