"""Exercises of notebook 04, GANs on spectrograms: a file each."""

from course_lib.exercises.ex04.distances import SAME_LABEL_DISTANCE
from course_lib.exercises.ex04.jensen_shannon import JENSEN_SHANNON
from course_lib.exercises.ex04.mixed_loss import DISCRIMINATOR_LOSS
from course_lib.exercises.ex04.singular_value import LARGEST_SINGULAR_VALUE
from course_lib.exercises.ex04.slopes import GENERATOR_SLOPES

EXERCISES = (JENSEN_SHANNON, GENERATOR_SLOPES, DISCRIMINATOR_LOSS, LARGEST_SINGULAR_VALUE, SAME_LABEL_DISTANCE)
