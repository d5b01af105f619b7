"""Tools for instructors: `course release` writes the learners' notebooks. Nothing here is needed to take the course."""
