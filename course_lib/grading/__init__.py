"""Tools for instructors: hand out (`course release`), mark (`course grade`). Nothing here is needed to take the course."""
