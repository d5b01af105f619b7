"""Exercises of notebook 03, Variational autoencoders: a file each."""

from course_lib.exercises.ex03.elbo import ELBO
from course_lib.exercises.ex03.free_bits import FREE_BITS
from course_lib.exercises.ex03.iwae import IWAE_BOUND
from course_lib.exercises.ex03.kl import KL_TO_PRIOR
from course_lib.exercises.ex03.reparameterise import REPARAMETERISE
from course_lib.exercises.ex03.slerp import INTERPOLATE_SPHERICAL

EXERCISES = (REPARAMETERISE, KL_TO_PRIOR, ELBO, IWAE_BOUND, FREE_BITS, INTERPOLATE_SPHERICAL)
