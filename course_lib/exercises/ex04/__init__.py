"""Exercises of notebook 04, Variational autoencoders: a file each."""

from course_lib.exercises.ex04.elbo import ELBO
from course_lib.exercises.ex04.free_bits import FREE_BITS
from course_lib.exercises.ex04.iwae import IWAE_BOUND
from course_lib.exercises.ex04.kl import KL_TO_PRIOR
from course_lib.exercises.ex04.reparameterise import REPARAMETERISE

EXERCISES = (REPARAMETERISE, KL_TO_PRIOR, ELBO, IWAE_BOUND, FREE_BITS)
