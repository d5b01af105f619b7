"""Exercises of notebook 07, GANs on waveforms: a file each."""

from course_lib.exercises.ex07.gradient_penalty import GRADIENT_PENALTY
from course_lib.exercises.ex07.painted import PAINTED_COUNTS
from course_lib.exercises.ex07.r1 import R1_PENALTY
from course_lib.exercises.ex07.shuffle import PHASE_SHUFFLE
from course_lib.exercises.ex07.wasserstein import WASSERSTEIN_1D

EXERCISES = (PAINTED_COUNTS, WASSERSTEIN_1D, GRADIENT_PENALTY, R1_PENALTY, PHASE_SHUFFLE)
