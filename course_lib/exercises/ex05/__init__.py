"""Exercises of notebook 05, A VAE that speaks."""

from course_lib.exercises.ex05.slerp import INTERPOLATE_SPHERICAL

EXERCISES = (INTERPOLATE_SPHERICAL,)
