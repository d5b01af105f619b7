"""Instructors' tools: writing the learners' notebooks (and, later, marking them)."""
