"""Notebooks run from the top: notebooks go in; executed ones and `report.json` come out, with the figures that each
handed over by `report`. Below `grading` and `commands`, which both execute notebooks. Every lesson ends with a
`report`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "collecting": ["NotebookRun", "RunListener", "report", "run_notebooks"],
        "executing": ["execute_notebook", "read_notebook", "write_text_atomically"],
    },
)  # fmt: skip
