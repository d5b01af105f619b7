"""How many bits a sample of held-out speech costs each predictor: the fewer, the better it foresees the next sample.

Samples are mu-law classes; each is predicted from those before it, and before the first there is silence. Only the
first n_valid samples of a clip count: the zeros that fill it up cost next to nothing, and would flatter everybody.
On FSDD's test clips, in bits a sample: all 256 classes alike 8, tables of order 0, 1 and 2: 7.2, 5.5 and 5.1, linear
prediction fixed 6.6, and following the clip 4.5.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.losses.teacher_forcing import class_bits
from course_lib.sound.linear_prediction import valid_samples

# -- any model --------------------------------------------------------------------------------------------------------


def model_bits(logits: Tensor, classes: Tensor, n_valid: Tensor) -> float:
    """Mean bits over the valid samples, all samples counting alike.

    Args:    logits: (B, T, C), logits[:, t] made from classes before t.     classes: (B, T).     n_valid: (B,)."""
    return class_bits(logits, classes)[valid_samples(classes, n_valid)].double().mean().item()


def lookahead(predict: Callable[[Tensor], Tensor], classes: Tensor) -> int:
    """How far ahead a predictor sees: -1 is honest (nothing from the sample on), 0 reads the answer, 1 the next, ...

    One sample in the middle of each clip is changed; the first prediction that changes with it tells.

    Args:    predict: the samples (B, T) themselves, unshifted, -> logits (B, T, C) of each; no dropout.
    Returns: at most T // 2; -T if no prediction depends on the sample at all."""
    if classes.ndim != 2 or classes.shape[1] < 3:
        raise ValueError(f"classes: got shape {tuple(classes.shape)}, need (B, T), T at least 3")
    middle = classes.shape[1] // 2
    with torch.no_grad():
        before = predict(classes)
        n_classes = before.shape[2]
        changed = classes.clone()
        changed[:, middle] = (changed[:, middle] + n_classes // 2) % n_classes
        differ = (predict(changed) - before).abs().amax(dim=(0, 2)) > 1e-5 * before.abs().max()  # (T,)
    return middle - int(differ.int().argmax()) if differ.any() else -classes.shape[1]


def honest_bits(predict: Callable[[Tensor], Tensor], classes: Tensor, n_valid: Tensor) -> float:
    """model_bits of a predictor that is first shown not to see the answer.

    Raises: ValueError if it sees ahead: its bits would say nothing about what it can foresee."""
    if (ahead := lookahead(predict, classes)) >= 0:
        raise ValueError(
            f"logits[:, t] depend on sample t + {ahead}: the model sees the answer; need samples before t only. Give "
            "it the samples shifted by one step, silence first"
        )
    with torch.no_grad():
        return model_bits(predict(classes), classes, n_valid)


# -- tables -----------------------------------------------------------------------------------------------------------


def table_bits(
    train_classes: Tensor,
    train_valid: Tensor,
    test_classes: Tensor,
    test_valid: Tensor,
    order: int,
    n_classes: int = 256,
    add: float = 2.0,
) -> float:
    """Bits a sample with a table that counts which class followed the last `order` (0, 1 or 2) classes.

    Of 256^2 contexts most are seen never or once. So each table is mixed with that of one sample less, the more of
    that, the more kinds of classes k have followed (Witten & Bell 1991): p = (n(context, class) + add k p_less) /
    (n(context) + add k); below order 0 all classes are equally likely.

    Args:    train_classes (N, T), train_valid (N,): to count; test_classes (B, T'), test_valid (B,): to measure.
    Raises:  ValueError for another order, or classes out of range."""
    if order not in (0, 1, 2) or not add > 0:
        raise ValueError(f"got order={order}, add={add}; need order 0, 1 or 2 (order 3 has 4 billion cells), "
                         "add > 0")  # fmt: skip
    train = _contexts(train_classes, train_valid, order, n_classes)
    test = _contexts(test_classes, test_valid, order, n_classes)
    chance = torch.full(test[0].shape, 1 / n_classes, dtype=torch.float64)  # (n,): of what came
    for lag in range(order + 1):
        n_contexts = n_classes**lag
        counts = torch.bincount(train[lag], minlength=n_contexts * n_classes).view(n_contexts, n_classes)
        seen, kinds = counts.sum(dim=1), (counts > 0).sum(dim=1).clamp_min(1)  # (n_contexts,)
        context = test[lag] // n_classes
        pull = add * kinds[context]
        chance = (counts.view(-1)[test[lag]] + pull * chance) / (seen[context] + pull)
    return -chance.log2().mean().item()


def _contexts(classes: Tensor, n_valid: Tensor, order: int, n_classes: int) -> list[Tensor]:
    """For 0 to order samples of context: the cell (context, class) of each valid sample, as one number. (n,) each."""
    valid = valid_samples(classes, n_valid)
    if int(classes.min()) < 0 or int(classes.max()) >= n_classes:
        raise ValueError(f"got classes {int(classes.min())} to {int(classes.max())}; need 0 to {n_classes - 1}")
    classes = classes.cpu()
    cells = [classes[valid]]
    for lag in range(1, order + 1):
        earlier = F.pad(classes, (lag, 0), value=n_classes // 2)[:, : classes.shape[1]]  # silence before the clip
        cells.append(cells[-1] + n_classes**lag * earlier[valid])
    return cells
