"""Exercise 05.1: interpolation on a great circle."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def interpolate_spherical(z_a: Tensor, z_b: Tensor, weights: Tensor) -> Tensor:
    """From z_a (weight 0) to z_b (weight 1) at a constant pace of angle (Shoemake 1985; White 2016).

    Args:    z_a, z_b: (Z,), neither zero; weights: (P,) in [0, 1].
    Returns: (P, Z); on a straight line where the two are parallel, which is the formula's limit.
    """
    angle = _cosine(z_a, z_b).clamp(-1, 1).acos()
    if angle < 1e-4:
        return _straight(z_a, z_b, weights)
    return _arc(z_a, z_b, weights, angle)


def _cosine(z_a: Tensor, z_b: Tensor) -> Tensor:
    return (z_a / z_a.norm()) @ (z_b / z_b.norm())


def _cosines(z_a: Tensor, z_b: Tensor) -> list[Tensor]:
    product, a, b = z_a @ z_b, z_a.norm(), z_b.norm()
    return [_cosine(z_a, z_b), product / (a * b), product / a / b, (z_a * z_b).sum() / (a * b)]


def _straight(z_a: Tensor, z_b: Tensor, weights: Tensor) -> Tensor:
    return (1 - weights)[:, None] * z_a + weights[:, None] * z_b


def _arc(z_a: Tensor, z_b: Tensor, weights: Tensor, angle: Tensor) -> Tensor:
    share_a, share_b = ((1 - weights) * angle).sin(), (weights * angle).sin()
    return (share_a[:, None] * z_a + share_b[:, None] * z_b) / angle.sin()


def _draw_ends(rng: torch.Generator, trial: int) -> dict:
    """Ends of unlike lengths: obtuse, acute, two parallel pairs (cosine above 1, and 1), and a small angle.

    The first two have products that are no cosines but could be; of the parallel, all ways to a cosine round alike.
    """
    z_dim, n_points = ((6, 5), (9, 4), (12, 7), (8, 3), (7, 6))[trial % 5]
    weights = torch.rand(n_points, generator=rng)
    weights[0], weights[-1] = 1.0, 0.0
    fits = (
        lambda cosines, product: -0.5 < min(cosines) < -0.1 and -0.95 < product < 1.5 * min(cosines),
        lambda cosines, product: 0.1 < min(cosines) < 0.5 and 1.5 * min(cosines) < product < 0.95,
        lambda cosines, product: min(cosines) > 1,
        lambda cosines, product: min(cosines) == max(cosines) == 1,
        lambda cosines, product: 0.965 < min(cosines) < 0.985,
    )[trial % 5]
    for _ in range(5000):
        z_a, z_b = 1.1 * torch.randn(z_dim, generator=rng), 0.5 * torch.randn(z_dim, generator=rng)
        if trial % 5 >= 2:
            z_a, z_b = 3 * z_a, 5.1 * z_a + (z_b if trial % 5 == 4 else 0)
        if fits(_cosines(z_a, z_b), z_a @ z_b):
            break
    return {"z_a": z_a, "z_b": z_b, "weights": weights}


def _by_angle(angle):
    """An answer whose angle is angle(z_a, z_b), and that is straight where the two are parallel."""

    def answer(z_a: Tensor, z_b: Tensor, weights: Tensor) -> Tensor:
        if _cosine(z_a, z_b) > 1 - 1e-6:
            return _straight(z_a, z_b, weights)
        return _arc(z_a, z_b, weights, angle(z_a, z_b))

    return answer


def _own_angle(cosine):
    """An answer that goes straight where the angle of its own, acos(cosine(z_a, z_b)), is nearly 0."""

    def answer(z_a: Tensor, z_b: Tensor, weights: Tensor) -> Tensor:
        angle = cosine(z_a, z_b).acos()
        return _straight(z_a, z_b, weights) if angle < 1e-4 else _arc(z_a, z_b, weights, angle)

    return answer


def _unit_ends(z_a: Tensor, z_b: Tensor, weights: Tensor) -> Tensor:
    return interpolate_spherical(z_a / z_a.norm(), z_b / z_b.norm(), weights)


def _lengths_apart(z_a: Tensor, z_b: Tensor, weights: Tensor) -> Tensor:
    return _unit_ends(z_a, z_b, weights) * ((1 - weights) * z_a.norm() + weights * z_b.norm())[:, None]


def _stays_where_parallel(z_a: Tensor, z_b: Tensor, weights: Tensor) -> Tensor:
    if _cosine(z_a, z_b) > 1 - 1e-6:
        return z_a.repeat(len(weights), 1)
    return interpolate_spherical(z_a, z_b, weights)


def _angle(z_a: Tensor, z_b: Tensor) -> Tensor:
    return _cosine(z_a, z_b).clamp(-1, 1).acos()


def _not_straight(z_a: Tensor, z_b: Tensor, weights: Tensor) -> Tensor:
    return _arc(z_a, z_b, weights, _angle(z_a, z_b))


INTERPOLATE_SPHERICAL = Exercise(
    id="05.1",
    title="interpolation on a great circle",
    points=3,
    function="interpolate_spherical",
    draw=_draw_ends,
    reference=interpolate_spherical,
    atol=1e-3,  # float32 holds an angle near 0 to 0.0005
    rtol=1e-3,
    n_trials=5,
    difficulty=3,
    minutes=15,
    hint="the angle comes from the *directions* of the ends, the shares from sines of parts of that angle, and where "
    "the angle is nearly 0 the formula is 0 / 0: its limit is the straight line.",
    wrong_answers=(
        WrongAnswer(
            "straight line",
            _straight,
            "that is the straight line, which cuts through the ball: in the middle codes come out too short.",
        ),
        WrongAnswer(
            "straight line, stretched",
            lambda z_a, z_b, weights: torch.nn.functional.normalize(_straight(z_a, z_b, weights), dim=1) * z_a.norm(),
            "you stretch the straight line back on to the sphere: on an arc, but not at a constant pace of angle.",
        ),
        WrongAnswer(
            "angle of the ends as they come",
            _own_angle(lambda z_a, z_b: (z_a @ z_b).clamp(-1, 1)),
            "your cosine is not one, and the clamp hides it: divide z_a @ z_b by both lengths before acos.",
        ),
        WrongAnswer(
            "acos of a product",
            _own_angle(lambda z_a, z_b: z_a @ z_b),
            "z_a @ z_b is no cosine before it is divided by both lengths: where it is above 1, your points are NaN.",
        ),
        WrongAnswer(
            "divided by one length",
            _own_angle(lambda z_a, z_b: (z_a @ z_b / z_a.square().sum()).clamp(-1, 1)),
            "you divide z_a @ z_b by the length of z_a twice: once by each of the two lengths.",
        ),
        WrongAnswer(
            "lengths apart",
            _lengths_apart,
            "you turn the direction and change the length each by itself: here the two shares weigh z_a and z_b as "
            "they are.",
        ),
        WrongAnswer(
            "epsilon in the denominator",
            lambda z_a, z_b, weights: interpolate_spherical(z_a, z_b, weights) * (_cosine(z_a, z_b) < 1 - 1e-6),
            "parallel ends came out as 0: an epsilon under the fraction makes 0 of 0 / 0, and the limit is a straight "
            "line.",
        ),
        WrongAnswer(
            "straight too soon",
            lambda z_a, z_b, weights: (_straight if _angle(z_a, z_b) < 0.3 else interpolate_spherical)(
                z_a, z_b, weights
            ),
            "you go straight where the angle is small, but not 0: at 0.2 the line is off the arc.",
        ),
        WrongAnswer(
            "flipped",
            lambda z_a, z_b, weights: interpolate_spherical(z_a, z_b if z_a @ z_b > 0 else -z_b, weights),
            "you flip an end where the cosine is negative, as one may with quaternions: the codes z and -z differ.",
        ),
        WrongAnswer(
            "stays where parallel",
            _stays_where_parallel,
            "parallel ends need not be the same: one may be longer, so go straight from z_a to z_b.",
        ),
        WrongAnswer(
            "length lost",
            _unit_ends,
            "you interpolate between *unit* vectors: normalise for the angle only, and weigh z_a and z_b as they are.",
        ),
        WrongAnswer(
            "not clamped",
            _own_angle(_cosine),
            "parallel ends came out as NaN: their cosine was rounded to 1.0000001, which has no acos. Clamp it.",
        ),
        WrongAnswer(
            "not straight where parallel",
            _not_straight,
            "parallel ends came out as NaN: sin(angle) is 0, and 0 / 0 is NaN. Where the angle is nearly 0, go "
            "straight (and clamp the cosine).",
        ),
        WrongAnswer(
            "weights reversed",
            lambda z_a, z_b, weights: interpolate_spherical(z_b, z_a, weights),
            "the wrong way round: weight 0 is z_a, weight 1 is z_b.",
        ),
        WrongAnswer(
            "not divided by the sine",
            lambda z_a, z_b, weights: interpolate_spherical(z_a, z_b, weights) * _angle(z_a, z_b).sin(),
            "at weight 0 you do not get z_a: both shares are divided by sin(angle).",
        ),
        WrongAnswer(
            "divided by the angle",
            lambda z_a, z_b, weights: (
                interpolate_spherical(z_a, z_b, weights) * torch.sinc(_angle(z_a, z_b) / torch.pi)
            ),
            "you divide by the angle: by its sine.",
        ),
        WrongAnswer(
            "angle in degrees",
            _by_angle(lambda z_a, z_b: _angle(z_a, z_b).rad2deg()),
            "torch.sin takes radians, and your angle is in degrees.",
        ),
        WrongAnswer(
            "cosine for the angle",
            _by_angle(_cosine),
            "you took the cosine for the angle: acos of it.",
        ),
        WrongAnswer(
            "always a quarter turn",
            _by_angle(lambda z_a, z_b: torch.tensor(torch.pi / 2)),
            "cos and sin of w pi / 2 are right for ends at a right angle only: use the angle between them.",
        ),
        WrongAnswer(
            "axes swapped",
            lambda z_a, z_b, weights: interpolate_spherical(z_a, z_b, weights).T,
            "right values, but a column a point: (P, Z), weights[:, None] times z.",
        ),
        WrongAnswer(
            "not a table",
            lambda z_a, z_b, weights: (1 - weights) * z_a + weights * z_b,
            "each weight meets each of the Z numbers: make the weights a column, weights[:, None].",
        ),
        WrongAnswer(
            "evenly spaced",
            lambda z_a, z_b, weights: interpolate_spherical(z_a, z_b, torch.linspace(0, 1, len(weights))),
            "you made weights of your own: use those that come in.",
        ),
        WrongAnswer(
            "stretched to the mean length",
            lambda z_a, z_b, weights: _unit_ends(z_a, z_b, weights) * (z_a.norm() + z_b.norm()) / 2,
            "you gave all points one length; at the ends they have to be z_a and z_b themselves.",
        ),
        WrongAnswer(
            "float64",
            lambda z_a, z_b, weights: interpolate_spherical(z_a.double(), z_b.double(), weights.double()),
            "float64, as numpy makes it too, where float32 came in: end with .to(z_a.dtype).",
        ),
    ),
)
