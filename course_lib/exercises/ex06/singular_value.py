"""Exercise 06.4: the largest singular value, by power iteration."""

import torch
from torch import Tensor

from course_lib.exercises.ex06.gradients import call_and_differentiate
from course_lib.exercises.framework import Exercise, WrongAnswer


def largest_singular_value(weight: Tensor, start: Tensor, n_iterations: int) -> Tensor:
    """u^T W v after so many power iterations, an estimate from below (Miyato et al. 2018, algorithm 1).

    Args:    weight: (O, I); start: (I,), not orthogonal to what is sought; n_iterations: at least 1.
    Returns: scalar; its gradient is u v^T, since u and v count as constants."""
    with torch.no_grad():
        u, v = _iterate(weight, start, n_iterations)
    return u @ weight @ v


def _iterate(weight: Tensor, v: Tensor, n_iterations: int) -> tuple[Tensor, Tensor]:
    u = weight[:, 0]
    for _ in range(n_iterations):
        u = _unit(weight @ v)  # (O,)
        v = _unit(weight.T @ u)  # (I,)
    return u, v


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def _draw_matrix(rng: torch.Generator, trial: int) -> dict:
    """Singular values close together and a start that leans to each alike: few iterations do not converge."""
    n_out, n_in, n_iterations = ((5, 8, 3), (9, 4, 2), (3, 6, 5), (7, 2, 2))[trial % 4]
    n = min(n_out, n_in)
    left = torch.linalg.qr(torch.randn(n_out, n, generator=rng))[0]
    right = torch.linalg.qr(torch.randn(n_in, n, generator=rng))[0]
    sizes = (0.4, 3.0, 1.5, 6.0)[trial % 4] * (torch.linspace(1, 0.6, n) + 0.04 * torch.rand(n, generator=rng))
    signs = 2.0 * torch.randint(0, 2, (n,), generator=rng) - 1
    start = right @ (signs * (0.6 + 0.4 * torch.rand(n, generator=rng)))
    return {"weight": left * sizes @ right.T, "start": start, "n_iterations": n_iterations}


def _from_ends(value):
    """An answer that ends with value(weight, u, v), u and v being constants."""

    def answer(weight: Tensor, start: Tensor, n_iterations: int) -> Tensor:
        return value(weight, *_iterate(weight.detach(), start, n_iterations))

    return answer


def _with_steps(change):
    return lambda weight, start, n_iterations: largest_singular_value(weight, start, change(n_iterations))


def _with_unit(of_u, of_v):
    """An answer that scales u and v otherwise."""

    def answer(weight: Tensor, start: Tensor, n_iterations: int) -> Tensor:
        v = start
        with torch.no_grad():
            for _ in range(n_iterations):
                u = of_u(weight @ v)
                v = of_v(weight.T @ u)
        return u @ weight @ v

    return answer


def _through_everything(weight: Tensor, start: Tensor, n_iterations: int) -> Tensor:
    u, v = _iterate(weight, start, n_iterations)
    return u @ weight @ v


def _old_v(weight: Tensor, start: Tensor, n_iterations: int) -> Tensor:
    with torch.no_grad():
        v = start
        for _ in range(n_iterations):
            u, used = _unit(weight @ v), v
            v = _unit(weight.T @ u)
    return u @ weight @ _unit(used)


def _half_detached(weight: Tensor, start: Tensor, n_iterations: int) -> Tensor:
    """u alone is made of a constant weight."""
    v = start
    for _ in range(n_iterations):
        u = _unit(weight.detach() @ v)
        v = _unit(weight.T @ u)
    return u @ weight @ v


def _without_transpose(weight: Tensor, start: Tensor, n_iterations: int) -> Tensor:
    return weight @ _unit(weight @ start)


LARGEST_SINGULAR_VALUE = Exercise(
    id="06.4",
    title="how much a layer can stretch",
    points=3,
    function="largest_singular_value",
    draw=_draw_matrix,
    reference=largest_singular_value,
    probe=call_and_differentiate,
    difficulty=2,
    minutes=12,
    hint="in each iteration u = W v, scaled to length 1, then v = W^T u, scaled to length 1, all without gradients; "
    "after the last one u @ weight @ v, with a gradient.",
    wrong_answers=(
        WrongAnswer(
            "one iteration too few",
            _with_steps(lambda n: n - 1),
            "one iteration too few: range(n_iterations), and each makes both a new u and a new v.",
        ),
        WrongAnswer(
            "one iteration too many",
            _with_steps(lambda n: n + 1),
            "one iteration too many: n_iterations in all, the first one included.",
        ),
        WrongAnswer(
            "one iteration",
            _with_steps(lambda n: 1),
            "every iteration starts from `start` again, or there is only one: feed the new v into the next.",
        ),
        WrongAnswer(
            "the limit",
            lambda weight, start, n_iterations: torch.linalg.svdvals(weight)[0],
            "that is the limit of many iterations (svdvals, matrix_norm): the estimate after n_iterations is asked, "
            "which costs two products each.",
        ),
        WrongAnswer(
            "the limit as a number",
            lambda weight, start, n_iterations: float(torch.linalg.matrix_norm(weight.detach(), 2)),
            "that is the limit of many iterations, and a plain number, through which no gradient flows: iterate, and "
            "end with u @ weight @ v.",
        ),
        WrongAnswer(
            "length of the matrix",
            lambda weight, start, n_iterations: weight.norm(),
            "weight.norm() is the Frobenius norm, the root of the sum of *all* squared singular values.",
        ),
        WrongAnswer(
            "u not scaled",
            _with_unit(lambda u: u, _unit),
            "u is not scaled to length 1 before the product, so the result is too large by its length.",
        ),
        WrongAnswer(
            "v not scaled",
            _with_unit(_unit, lambda v: v),
            "v is not scaled to length 1 before the product, so you get the square of the value.",
        ),
        WrongAnswer(
            "neither scaled",
            _with_unit(lambda u: u, lambda v: v),
            "without scaling, u and v grow with each product: divide each by its length.",
        ),
        WrongAnswer(
            "scaled by the sum",
            _with_unit(lambda u: u / u.abs().sum(), lambda v: v / v.abs().sum()),
            "you divide by the sum of absolute values: by the length, .norm().",
        ),
        WrongAnswer(
            "scaled by the largest",
            _with_unit(lambda u: u / u.abs().max(), lambda v: v / v.abs().max()),
            "you divide by the largest value: by the length, .norm().",
        ),
        WrongAnswer(
            "length squared",
            _with_unit(lambda u: u / u.square().sum(), lambda v: v / v.square().sum()),
            "you divide by the *squared* length: the root is missing, .norm().",
        ),
        WrongAnswer(
            "squared",
            _from_ends(lambda weight, u, v: (weight.T @ u).square().sum()),
            "that is the largest eigenvalue of W W^T, the square of the singular value.",
        ),
        WrongAnswer(
            "half an iteration more",
            _from_ends(lambda weight, u, v: (weight @ v).norm()),
            "|W v| is half an iteration further: the last u, times W v.",
        ),
        WrongAnswer(
            "with the start",
            lambda weight, start, n_iterations: (
                _iterate(weight.detach(), start, n_iterations)[0] @ weight @ _unit(start)
            ),
            "the last product takes the *last* v: yours is still the start.",
        ),
        WrongAnswer(
            "other way round",
            lambda weight, start, n_iterations: largest_singular_value(weight.T, start, n_iterations),
            "start is (I,), as long as a row of weight: first W v, which is (O,), then W^T u.",
        ),
        WrongAnswer(
            "start of one's own",
            lambda weight, start, n_iterations: largest_singular_value(weight, torch.ones_like(start), n_iterations),
            "you begin with ones: with `start`.",
        ),
        WrongAnswer(
            "weight divided",
            lambda weight, start, n_iterations: weight / largest_singular_value(weight, start, n_iterations),
            "that is the normalised weight: the value it is divided by is asked for.",
        ),
        WrongAnswer(
            "gradient through the iterations",
            _through_everything,
            "the right value, but gradients run back through all iterations: u and v are constants, made under "
            "torch.no_grad() (or detached).",
        ),
        WrongAnswer(
            "no gradient",
            lambda weight, start, n_iterations: largest_singular_value(weight, start, n_iterations).detach(),
            "the right value, but no gradient reaches weight: the *last* product, u @ weight @ v, belongs outside of "
            "no_grad.",
        ),
        WrongAnswer(
            "one over",
            lambda weight, start, n_iterations: 1 / largest_singular_value(weight, start, n_iterations),
            "that is one over the value.",
        ),
        WrongAnswer(
            "v before the last",
            _old_v,
            "the last u meets the v it was made of: u *and* v are renewed in each iteration, and the product takes "
            "both new ones.",
        ),
        WrongAnswer(
            "root",
            lambda weight, start, n_iterations: largest_singular_value(weight, start, n_iterations).sqrt(),
            "no root: u^T W v is the singular value itself, not its square.",
        ),
        WrongAnswer(
            "squared, half an iteration more",
            _from_ends(lambda weight, u, v: (weight @ v).square().sum()),
            "|W v|^2, or v^T W^T W v, is an eigenvalue of W^T W, the *square*: u @ weight @ v.",
        ),
        WrongAnswer(
            "half detached",
            _half_detached,
            "the right value, but one of the two products in the loop still passes gradients on: both u and v are "
            "constants.",
        ),
        WrongAnswer(
            "no transpose",
            _without_transpose,
            "u is (O,), and weight (O, I) can't take it from the right: v comes from the *transpose*, weight.T @ u.",
        ),
    ),
)
