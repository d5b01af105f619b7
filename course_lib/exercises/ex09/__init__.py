"""Exercises of notebook 09, Sample by sample: a file each."""

from course_lib.exercises.ex09.bits import BITS_PER_SAMPLE
from course_lib.exercises.ex09.gru import GRU_STEP
from course_lib.exercises.ex09.top_p import TOP_P_PROBABILITIES

EXERCISES = (BITS_PER_SAMPLE, TOP_P_PROBABILITIES, GRU_STEP)
