"""Tools for instructors: hand out (`course release`), mark (`course grade`). Learners need none of it."""
