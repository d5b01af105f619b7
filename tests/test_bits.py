"""Bits a sample: tables by hand, linear prediction against what made the sound, and models that peek."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.judging.bits import honest_bits, lookahead, model_bits, table_bits
from course_lib.losses.teacher_forcing import class_bits
from course_lib.sound import linear_prediction
from course_lib.sound.features import mu_law_encode
from course_lib.sound.linear_prediction import (
    class_edges,
    class_log2,
    fit_linear_predictor,
    linear_prediction_bits,
    sample_bits,
    valid_samples,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- models ---------------------------------------------------------------------------------------------------------


def test_model_bits_by_hand():
    first = [[0.5, 0.25, 0.25], [0.125, 0.5, 0.375], [0.1, 0.1, 0.8], [0.5, 0.25, 0.25]]
    chances = torch.tensor([first, [[0.25, 0.5, 0.25], [1 / 3, 1 / 3, 1 / 3], [0.9, 0.05, 0.05], [0.1, 0.2, 0.7]]])
    classes, logits = torch.tensor([[0, 0, 2, 1], [2, 0, 1, 1]]), chances.log() + 5.0
    bits = class_bits(logits, classes)
    torch.testing.assert_close(bits[0], torch.tensor([1.0, 3.0, -math.log2(0.8), 2.0]))
    # 2 of the first clip's samples and 1 of the second's: each sample counts alike, not each clip.
    assert model_bits(logits, classes, torch.tensor([2, 1])) == pytest.approx((1 + 3 + 2) / 3)
    assert model_bits(logits, classes, torch.tensor([0, 1])) == pytest.approx(2)
    assert model_bits(torch.zeros(2, 4, 256), classes, torch.tensor([4, 4])) == pytest.approx(8)


def test_samples_after_the_end_do_not_count():
    logits, classes = torch.randn(3, 6, 5, generator=rng()), torch.randint(5, (3, 6), generator=rng())
    n_valid = torch.tensor([2, 6, 4])
    expected = model_bits(logits, classes, n_valid)
    for clip, n in enumerate(n_valid.tolist()):
        logits[clip, n:], classes[clip, n:] = 100.0, 0
    assert model_bits(logits, classes, n_valid) == pytest.approx(expected)


def test_model_bits_refuse():
    with pytest.raises(ValueError, match=r"need \(B, T, C\), \(B, T\)"):
        model_bits(torch.zeros(2, 5, 4), torch.zeros(2, 4, dtype=torch.int64), torch.ones(2))
    with pytest.raises(ValueError, match=r"n_valid \(3,\); need \(B, T\) and \(B,\)"):
        model_bits(torch.zeros(2, 4, 5), torch.zeros(2, 4, dtype=torch.int64), torch.ones(3))
    for n_valid in (torch.tensor([0, 0]), torch.tensor([1, 5])):
        with pytest.raises(ValueError, match="need 1 to all of them"):
            model_bits(torch.zeros(2, 4, 5), torch.zeros(2, 4, dtype=torch.int64), n_valid)


class Reader(nn.Module):
    """A GRU over classes that reads them `lead` steps ahead: -1 is honest, 0 is shown the answer."""

    def __init__(self, lead: int, n_classes: int = 6, n_hidden: int = 16) -> None:
        super().__init__()
        self.lead, self.embed = lead, nn.Embedding(n_classes, 8)
        self.gru, self.to_logits = nn.GRU(8, n_hidden, batch_first=True), nn.Linear(n_hidden, n_classes)

    def forward(self, classes: Tensor) -> Tensor:
        shown = F.pad(classes, (max(-self.lead, 0), max(self.lead, 0)), value=3)
        shown = shown[:, max(self.lead, 0) :][:, : classes.shape[1]]
        return self.to_logits(self.gru(self.embed(shown))[0])


@pytest.mark.parametrize("lead", [-3, -1, 0, 1, 2])
def test_how_far_ahead_a_model_sees_is_found(lead):
    torch.manual_seed(0)
    assert lookahead(Reader(lead), torch.randint(6, (3, 21), generator=rng())) == lead


def test_who_reads_nothing_or_everything_is_found_too():
    classes = torch.randint(6, (2, 20), generator=rng())
    assert lookahead(lambda c: torch.ones(2, 20, 6), classes) == -20
    torch.manual_seed(0)
    both = nn.GRU(6, 3, batch_first=True, bidirectional=True)
    assert lookahead(lambda c: both(F.one_hot(c, 6).float())[0], classes) == 10  # all that lies ahead
    with pytest.raises(ValueError, match=r"need \(B, T\), T at least 3"):
        lookahead(Reader(-1), classes[0])


def test_a_model_that_peeks_gets_fewer_bits_and_is_refused():
    """Classes drawn at random: nothing foresees them in less than log2 6 = 2.58 bits, unless it has seen them."""
    torch.manual_seed(0)
    train, test = (torch.randint(6, (16, 40), generator=rng(seed)) for seed in (1, 2))
    n_valid, found = torch.full((16,), 40), {}
    for lead in (-1, 0):
        model = Reader(lead)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(60):
            loss = class_bits(model(train), train).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            found[lead] = model_bits(model(test), test, n_valid)
        if lead == -1:
            assert honest_bits(model, test, n_valid) == found[-1]
        else:
            with pytest.raises(ValueError, match=r"depend on sample t \+ 0: the model sees the answer"):
                honest_bits(model, test, n_valid)
    assert found[0] < 0.5 < 2.58 < found[-1]


def test_bits_of_the_true_law_are_its_entropy_and_no_other_law_gets_fewer():
    """The best possible predictor of a Markov chain needs its entropy rate, and any other one more (Gibbs)."""
    chain = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64)
    classes = [torch.full((200,), 1)]
    for _ in range(300):
        classes.append(torch.multinomial(chain[classes[-1]], 1, generator=rng(len(classes)))[:, 0])
    classes = torch.stack(classes[1:], dim=1)  # (B, T), 1 = n_classes // 2 before the first

    def law(matrix: Tensor):
        return lambda c: matrix.log()[F.pad(c, (1, 0), value=1)[:, :-1]]

    n_valid = torch.full((200,), 300)
    best = honest_bits(law(chain), classes, n_valid)
    stationary = torch.linalg.matrix_power(chain, 100)[0]
    assert best == pytest.approx(-(stationary[:, None] * chain * chain.log2()).sum().item(), abs=0.01)
    assert honest_bits(law(0.9 * chain + 0.1 / 3), classes, n_valid) > best
    by_counting = table_bits(classes[:100], n_valid[:100], classes[100:], n_valid[:100], 1, n_classes=3)
    assert by_counting == pytest.approx(honest_bits(law(chain), classes[100:], n_valid[:100]), abs=0.005)


# -- tables ---------------------------------------------------------------------------------------------------------

TRAIN, TRAIN_VALID = torch.tensor([[0, 1, 1, 2, 3], [1, 1, 0, 3, 3]]), torch.tensor([4, 3])  # 0 1 1 2 and 1 1 0
TEST, TEST_VALID = torch.tensor([[1, 1, 2, 0], [3, 0, 0, 0]]), torch.tensor([3, 1])  # 1 1 2 and 3


def test_a_table_of_order_0_by_hand():
    """7 samples: 0 twice, 1 four times, 2 once; 3 kinds, of 4 classes: p(c) = (n(c) + 3 / 4) / (7 + 3)."""
    chances = [4.75 / 10, 4.75 / 10, 1.75 / 10, 0.75 / 10]
    expected = -sum(math.log2(chance) for chance in chances) / 4
    assert table_bits(TRAIN, TRAIN_VALID, TEST, TEST_VALID, 0, n_classes=4, add=1.0) == pytest.approx(expected)
    twice = [(n + 2 * 3 / 4) / (7 + 2 * 3) for n in (4, 4, 1, 0)]  # add = 2
    expected = -sum(math.log2(chance) for chance in twice) / 4
    assert table_bits(TRAIN, TRAIN_VALID, TEST, TEST_VALID, 0, n_classes=4, add=2.0) == pytest.approx(expected)


def test_tables_of_order_1_and_2_by_hand():
    """Silence, 4 // 2 = 2, stands before each clip: after 2 came 0, 1; after 0: 1; after 1: 1, 2, 1, 0."""
    p0 = {c: (n + 0.75) / 10 for c, n in enumerate((2, 4, 1, 0))}
    after_2 = {c: (n + 2 * p0[c]) / (2 + 2) for c, n in enumerate((1, 1, 0, 0))}
    after_1 = {c: (n + 3 * p0[c]) / (4 + 3) for c, n in enumerate((1, 2, 1, 0))}
    chances = [after_2[1], after_1[1], after_1[2], after_2[3]]
    expected = -sum(math.log2(chance) for chance in chances) / 4
    assert table_bits(TRAIN, TRAIN_VALID, TEST, TEST_VALID, 1, n_classes=4, add=1.0) == pytest.approx(expected)
    # Two before: after (2, 2): 0, 1; after (2, 0): 1; after (0, 1): 1; after (1, 1): 2, 0; after (2, 1): 1.
    after_22 = {c: (n + 2 * after_2[c]) / (2 + 2) for c, n in enumerate((1, 1, 0, 0))}
    after_21 = {c: (n + 1 * after_1[c]) / (1 + 1) for c, n in enumerate((0, 1, 0, 0))}
    after_11 = {c: (n + 2 * after_1[c]) / (2 + 2) for c, n in enumerate((1, 0, 1, 0))}
    chances = [after_22[1], after_21[1], after_11[2], after_22[3]]
    expected = -sum(math.log2(chance) for chance in chances) / 4
    assert table_bits(TRAIN, TRAIN_VALID, TEST, TEST_VALID, 2, n_classes=4, add=1.0) == pytest.approx(expected)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_tables_chances_sum_to_1_after_every_context(order):
    n_classes, train = 5, torch.randint(5, (3, 30), generator=rng())
    for past in ([2, 2], [0, 4], [3, 3]):
        total = 0.0
        for last in range(n_classes):
            clip = torch.tensor([[*past, last]])
            shorter = table_bits(train, torch.full((3,), 30), clip, torch.tensor([2]), order, n_classes)
            longer = table_bits(train, torch.full((3,), 30), clip, torch.tensor([3]), order, n_classes)
            total += 2 ** -(3 * longer - 2 * shorter)
        assert total == pytest.approx(1)


def test_a_context_never_seen_costs_what_a_shorter_one_does():
    train, n_train, test = torch.tensor([[0, 1, 0, 1, 0, 1]]), torch.tensor([6]), torch.tensor([[5, 0]])

    def cost_of_the_last(order: int) -> float:
        both, first = (table_bits(train, n_train, test, torch.tensor([n]), order) for n in (2, 1))
        return 2 * both - first

    # 3 of 6 samples were 0, of 2 kinds; add = 2. After 5 nothing was counted, nor after silence and 5.
    assert cost_of_the_last(0) == pytest.approx(-math.log2((3 + 4 / 256) / (6 + 4)))
    assert cost_of_the_last(1) == pytest.approx(cost_of_the_last(0)) == pytest.approx(cost_of_the_last(2))


def test_real_speech_is_better_foreseen_the_more_context_is_used(clips):
    train, test = clips.train.select(torch.arange(0, len(clips.train), 20)), clips.test.select(torch.arange(0, 40, 2))
    sets = mu_law_encode(train.waves), train.n_valid, mu_law_encode(test.waves), test.n_valid
    bits = [table_bits(*sets, order) for order in (0, 1, 2)]
    assert 8 > bits[0] > bits[1] + 0.5 and bits[2] < bits[1] < 7


def test_tables_refuse():
    for order, add in ((3, 1.0), (-1, 1.0), (1, 0.0)):
        with pytest.raises(ValueError, match="need order 0, 1 or 2"):
            table_bits(TRAIN, TRAIN_VALID, TEST, TEST_VALID, order, 4, add)
    with pytest.raises(ValueError, match="got classes 0 to 3; need 0 to 2"):
        table_bits(TRAIN, TRAIN_VALID, TEST, TEST_VALID, 1, n_classes=3)


# -- linear prediction ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [256, 64])
def test_edges_are_those_of_mu_law_encode(n_classes):
    edges = class_edges(n_classes)
    assert edges.shape == (n_classes + 1,) and (edges.diff() > 0).all()
    inner = edges[1:-1]
    assert torch.equal(mu_law_encode(inner - 1e-12, n_classes), torch.arange(n_classes - 1))
    assert torch.equal(mu_law_encode(inner + 1e-12, n_classes), torch.arange(1, n_classes))


@pytest.mark.parametrize("scale", [1e-6, 1e-4, 3e-3, 0.2, 5.0])
@pytest.mark.parametrize("predicted", [-1.3, -0.2, 0.0, 1e-5, 0.7])
def test_chances_of_all_classes_sum_to_1_and_are_finite(scale, predicted):
    every = torch.arange(256)
    place, width = torch.tensor([predicted]).double(), torch.tensor([scale]).double()
    log2 = class_log2(every, place, width)
    assert log2.exp2().sum().item() == pytest.approx(1, abs=1e-12) and log2.isfinite().all()


def test_chances_are_integrals_of_the_laplace_law():
    edges, predicted, scale = class_edges(256), torch.tensor(0.03).double(), torch.tensor(0.01).double()
    law = torch.distributions.Laplace(predicted, scale)
    torch.testing.assert_close(class_log2(torch.arange(256), predicted, scale).exp2(), law.cdf(edges).diff())
    far = class_log2(torch.tensor([250]), predicted, scale / 100)  # where the cdf's differences are 0
    middle = (edges[250] + 1e-12).item()  # nearly all of the class's chance lies at its near edge
    assert far.item() == pytest.approx((math.log(0.5) - (middle - 0.03) / 1e-4) / math.log(2), rel=1e-6)


def made_by(weights: list[float], scale: float, n_clips: int, n_samples: int, seed: int) -> Tensor:
    """Sound that is linearly predictable by construction: x[t] = sum of weights x[t - k] + a Laplace residual."""
    uniform = torch.rand(n_clips, n_samples, generator=rng(seed), dtype=torch.float64) - 0.5
    residual = -scale * uniform.sign() * torch.log1p(-2 * uniform.abs())
    waves = torch.zeros(n_clips, n_samples + len(weights), dtype=torch.float64)
    for t in range(n_samples):
        past = waves[:, t : t + len(weights)].flip(1)
        waves[:, t + len(weights)] = past @ torch.tensor(weights).double() + residual[:, t]
    return waves[:, len(weights) :]


def test_sound_made_by_linear_prediction_costs_what_its_maker_would_pay():
    weights, scale = [1.2, -0.6], 0.01
    train, test = made_by(weights, scale, 7, 900, 0), made_by(weights, scale, 5, 700, 1)
    n_train, n_test = torch.full((7,), 900), torch.full((5,), 700)
    predictor = fit_linear_predictor(train, n_train, order=2, adaptive=False)
    found = torch.linalg.solve(predictor.products, predictor.towards)
    torch.testing.assert_close(found, torch.tensor(weights).double(), atol=0.03, rtol=0)
    assert predictor.floor.item() == pytest.approx(scale, rel=0.05)
    past = F.pad(test, (2, 0))
    true = weights[0] * past[:, 1:-1] + weights[1] * past[:, :-2]
    best = -class_log2(mu_law_encode(test), true, torch.full_like(true, scale)).mean().item()
    fixed = linear_prediction_bits(train, n_train, test, n_test, order=2, adaptive=False)
    follows = linear_prediction_bits(train, n_train, test, n_test, order=2, adaptive=True)
    assert best - 0.01 < fixed < best + 0.02  # nothing to follow here, and following costs something:
    assert fixed < follows < best + 0.35


def test_a_level_that_changes_is_followed():
    loud = torch.where(torch.arange(1200) % 400 < 200, 1.0, 0.02)
    train, test = (made_by([0.9], 0.02, n, 1200, n) * loud for n in (6, 4))
    n_train, n_test = torch.full((6,), 1200), torch.full((4,), 1200)
    fixed = linear_prediction_bits(train, n_train, test, n_test, order=3, adaptive=False)
    assert linear_prediction_bits(train, n_train, test, n_test, order=3) < fixed - 0.5


@pytest.mark.parametrize("adaptive", [True, False])
def test_what_comes_later_changes_no_earlier_cost(clips, adaptive):
    few = clips.train.select(torch.arange(6))
    waves, n_valid = few.waves[:, :2400], few.n_valid.clamp_max(2400)
    predictor = fit_linear_predictor(waves, n_valid, adaptive=adaptive)
    before = sample_bits(predictor, waves, n_valid)
    for t in (0, 15, 16, 777, 1600):
        changed = waves.clone()
        changed[:, t] = 0.9
        after = sample_bits(predictor, changed, n_valid)
        # The running means are differences of sums, whose rounding is the only thing that may move.
        torch.testing.assert_close(after[:, :t], before[:, :t], atol=1e-6, rtol=0)
        assert (after[:, t] > before[:, t] + 1).all()


def test_the_zeros_after_a_clip_and_other_clips_change_nothing(clips):
    few = clips.train.select(torch.arange(8))
    predictor = fit_linear_predictor(few.waves, few.n_valid)
    together = sample_bits(predictor, few.waves, few.n_valid)
    for clip in (0, 5):
        n = int(few.n_valid[clip])
        alone = sample_bits(predictor, few.waves[clip : clip + 1, :n], few.n_valid[clip : clip + 1])
        torch.testing.assert_close(together[clip, :n], alone[0], atol=1e-6, rtol=0)
    noisy = torch.where(valid_samples(few.waves, few.n_valid), few.waves, 0.5)
    again = fit_linear_predictor(noisy, few.n_valid)
    torch.testing.assert_close(again, predictor, atol=1e-9, rtol=1e-6)


def test_real_speech_is_foreseen_best_by_what_follows_it(clips):
    train, test = clips.train.select(torch.arange(0, len(clips.train), 60)), clips.test.select(torch.arange(0, 40, 5))
    sets = train.waves, train.n_valid, test.waves, test.n_valid
    follows, fixed = (linear_prediction_bits(*sets, adaptive=adaptive) for adaptive in (True, False))
    assert 2 < follows < fixed - 0.5 < 8


def test_linear_prediction_refuses():
    with pytest.raises(ValueError, match="all silent"):
        fit_linear_predictor(torch.zeros(3, 400), torch.full((3,), 400))
    with pytest.raises(ValueError, match="need at most 1"):
        sample_bits(fit_linear_predictor(made_by([0.5], 0.01, 2, 300, 0), torch.tensor([300, 300]), 2),
                    torch.full((1, 300), 1.5), torch.tensor([300]))  # fmt: skip
    assert linear_prediction.PULL > 0  # else the first hop's equations have no solution
