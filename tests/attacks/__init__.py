"""Attacks on the grader: what a student's cell, notebook or zip file might hold, and what it would gain.

A table a kind: `forging` (marks without an answer), `peeking` (reading and writing what is not theirs), `breaking`
(killing the grader or stopping it), `exhausting` (time, memory, processes, disk), `lingering` (what stays behind),
`replies` (what comes back through the pipe), `handins` (the files handed in). `naive` is the grader on which each
of them works: it runs the cells in the process that marks them, as ordinary graders do. It is the evidence that an
attack is one, and it bounds what an attack can do to the machine that the tests run on.
"""
