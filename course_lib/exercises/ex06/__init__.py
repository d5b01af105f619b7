"""Exercises of notebook 06, recurrent networks: a file each."""

from course_lib.exercises.ex06.bits import BITS_PER_SAMPLE
from course_lib.exercises.ex06.elman import ELMAN_FORWARD
from course_lib.exercises.ex06.gru import GRU_STEP
from course_lib.exercises.ex06.mixture import MIXTURE_LOG_LIKELIHOOD
from course_lib.exercises.ex06.through_time import BPTT_GRADIENT
from course_lib.exercises.ex06.top_p import TOP_P_PROBABILITIES

EXERCISES = (
    ELMAN_FORWARD,
    BPTT_GRADIENT,
    MIXTURE_LOG_LIKELIHOOD,
    BITS_PER_SAMPLE,
    TOP_P_PROBABILITIES,
    GRU_STEP,
)
