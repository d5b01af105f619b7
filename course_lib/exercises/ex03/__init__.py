"""Exercises of notebook 03, Autoencoders: a file each."""

from course_lib.exercises.ex03.angles import PRINCIPAL_ANGLES
from course_lib.exercises.ex03.conv_sizes import CONV_SIZES
from course_lib.exercises.ex03.mixing import MIX_AT_SNR
from course_lib.exercises.ex03.pca import PCA_RECONSTRUCT
from course_lib.exercises.ex03.subtraction import SUBTRACT_NOISE

EXERCISES = (PCA_RECONSTRUCT, PRINCIPAL_ANGLES, CONV_SIZES, MIX_AT_SNR, SUBTRACT_NOISE)
