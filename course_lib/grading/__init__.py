"""For instructors only: hand out (`course release`), mark (`course grade`). `solutions/` and what was handed in go in;
`notebooks/`, marks, feedback and a gradebook come out. Learners need none of it, and no name is handed on: a part of it
also runs in a sandbox, where the rest of the course is absent.
"""
