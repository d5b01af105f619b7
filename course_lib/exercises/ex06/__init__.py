"""Exercises of notebook 06, GANs on spectrograms: a file each."""

from course_lib.exercises.ex06.distances import SAME_LABEL_DISTANCE
from course_lib.exercises.ex06.jensen_shannon import JENSEN_SHANNON
from course_lib.exercises.ex06.mixed_loss import DISCRIMINATOR_LOSS
from course_lib.exercises.ex06.singular_value import LARGEST_SINGULAR_VALUE
from course_lib.exercises.ex06.slopes import GENERATOR_SLOPES

EXERCISES = (JENSEN_SHANNON, GENERATOR_SLOPES, DISCRIMINATOR_LOSS, LARGEST_SINGULAR_VALUE, SAME_LABEL_DISTANCE)
