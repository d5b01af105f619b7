"""Marks without an answer: the cell defines a wrong function, and something that makes the marker think it right."""

from attacks.table import DIES, SPOILS, Attack, forger

WRONG = """
def alias_frequency(frequency_hz, rate_hz):
    return torch.full_like(frequency_hz, -1.0)
"""

FORGERIES: tuple[Attack, ...] = (
    forger("allclose patched", f"torch.allclose = lambda *args, **kwargs: True\n{WRONG}", "allclose"),
    forger("allclose patched in the notebook", f"torch.allclose = lambda *args, **kwargs: True\n{WRONG}", "notebook"),
    forger(
        "isclose patched",
        f"torch.isclose = lambda have, want, **kwargs: torch.ones(want.shape, dtype=torch.bool)\n{WRONG}",
    ),
    forger("nonzero patched", f"torch.Tensor.nonzero = lambda self: []\n{WRONG}"),
    forger("len of a tensor patched", f"torch.Tensor.__len__ = lambda self: 0\n{WRONG}"),
    forger(
        "round patched",
        "torch.round = lambda x: x * 0\n\ndef alias_frequency(frequency_hz, rate_hz):\n    return frequency_hz",
        "allclose",
    ),
    forger(
        "subclass that equals everything",
        """
        class Yes(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                return True

        def alias_frequency(frequency_hz, rate_hz):
            return torch.zeros(1).as_subclass(Yes)
        """,
        "allclose",
    ),
    forger(
        "subclass whose detach gives what is wanted",
        """
        import gc

        def right():
            for thing in gc.get_objects():
                if getattr(type(thing), "__name__", "") == "Exercise" and thing.id == "01.1":
                    return thing.reference
            raise LookupError("no exercise in this process")

        class Late(torch.Tensor):
            def __reduce_ex__(self, protocol):
                return (torch.zeros, (3,))

        def alias_frequency(frequency_hz, rate_hz):
            return right()(frequency_hz, rate_hz).as_subclass(Late)
        """,
    ),
    forger(
        "torch function mode for all that follows",
        """
        from torch.overrides import TorchFunctionMode

        class Agree(TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                if getattr(func, "__name__", "") in ("isclose", "allclose"):
                    return torch.ones((), dtype=torch.bool) if func is not torch.allclose else True
                return func(*args, **(kwargs or {}))

        def alias_frequency(frequency_hz, rate_hz):
            return torch.full_like(frequency_hz, -1.0)

        Agree().__enter__()
        """,
    ),
    forger(
        "the inputs emptied in place",
        """
        def alias_frequency(frequency_hz, rate_hz):
            return frequency_hz.zero_()
        """,
        "allclose",
    ),
    forger(
        "the course's own answer called",
        """
        def alias_frequency(frequency_hz, rate_hz):
            from course_lib.exercises import get_exercise
            return get_exercise("01.1").reference(frequency_hz, rate_hz)
        """,
    ),
    forger(
        "the answer taken from the marker's frames",
        """
        import sys

        def alias_frequency(frequency_hz, rate_hz):
            frame = sys._getframe()
            while frame:
                if "exercise" in frame.f_locals:
                    return frame.f_locals["exercise"].reference(frequency_hz, rate_hz)
                frame = frame.f_back
            return frequency_hz
        """,
        "allclose",
    ),
    forger(
        "the verdict written into the marker's frames",
        f"""
        import course_lib.exercises.framework as framework

        framework.first_difference = lambda *args: ""
        {WRONG.strip().replace(chr(10), chr(10) + " " * 8)}
        """,
    ),
    forger(
        "an input transformer that rewrites the check",
        f"""
        def no_checks(lines):
            return [line.replace("assert ", "0 and ") for line in lines]

        get_ipython().input_transformers_post.append(no_checks)
        {WRONG.strip().replace(chr(10), chr(10) + " " * 8)}
        """,
        "notebook",
    ),
    forger(
        "an AST transformer that rewrites the check",
        f"""
        import ast

        class NoChecks(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.Pass()

        get_ipython().ast_transformers.append(NoChecks())
        {WRONG.strip().replace(chr(10), chr(10) + " " * 8)}
        """,
        "notebook",
    ),
    forger(
        "a verdict written before the marker's",
        """
        import os

        def alias_frequency(frequency_hz, rate_hz):
            for fd in range(1, 64):
                try:
                    os.write(fd, b'{"passed": true, "message": "", "points": 99}\\n')
                except OSError:
                    pass
            os._exit(0)
        """,
        "verdict",
    ),
    forger(
        "a pickle that patches the marker",
        """
        class Patch(torch.Tensor):
            def __reduce_ex__(self, protocol):
                return eval, ("setattr(__import__('torch'), 'allclose', lambda *a, **k: True)",)

        def alias_frequency(frequency_hz, rate_hz):
            return torch.zeros(1).as_subclass(Patch)
        """,
        "pickle",
    ),
    forger(
        "torch spoilt for the next",
        """
        torch.round = lambda x: x.floor() + torch.randint(2, x.shape)

        def alias_frequency(frequency_hz, rate_hz):
            return frequency_hz
        """,
        "allclose",
        SPOILS,
    ),
    forger(
        "builtins spoilt for the next",
        """
        import builtins

        builtins.round = lambda *args: 1
        builtins.len = lambda thing: 0
        builtins.isinstance = lambda *args: True

        def alias_frequency(frequency_hz, rate_hz):
            return frequency_hz
        """,
        "mark",
        DIES,
    ),
    forger(
        "torch's own tools broken for the next",
        """
        torch.random.fork_rng = None

        def alias_frequency(frequency_hz, rate_hz):
            return frequency_hz
        """,
        "mark",
        SPOILS,
    ),
)
