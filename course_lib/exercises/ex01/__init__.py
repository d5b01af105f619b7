"""Exercises of notebook 01, Sound as data: a file each, since each knows some twenty wrong answers with their hints."""

from course_lib.exercises.ex01.alias import ALIAS
from course_lib.exercises.ex01.griffin_lim import GRIFFIN_LIM
from course_lib.exercises.ex01.mu_law import MU_LAW

EXERCISES = (ALIAS, MU_LAW, GRIFFIN_LIM)
