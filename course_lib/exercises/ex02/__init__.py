"""Exercises of notebook 02, A machine that listens."""

from course_lib.exercises.ex02.mfcc import MFCC

EXERCISES = (MFCC,)
