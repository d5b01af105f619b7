"""`python -m course_lib` is the `course` command, for where scripts are not on the PATH."""

from course_lib.commands.cli import app

app(prog_name="course")
