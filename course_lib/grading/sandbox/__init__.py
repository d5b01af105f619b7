"""A worker that runs learners' code where it can reach nothing, and the trusted side's end of the line to it.

`sandboxes`, `launch` and `checking` are the trusted side. Everything else also runs inside the sandbox, where the rest
of the course is absent.
"""

UNSENT = 70  # exit code of a child that could not send its reply: the answer had broken what that takes
