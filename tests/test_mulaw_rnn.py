import math

import pytest
import torch
from torch.nn import functional as F

from course_lib.losses.teacher_forcing import mulaw_rnn_parts, shifted
from course_lib.models.mulaw_rnn import (
    LOG_DURATION,
    LOG_PITCH,
    MuLawRNN,
    neighbourly_vectors,
    standardise_controls,
)

SIZES = {"n_digits": 3, "n_speakers": 2, "n_classes": 11, "n_in": 6, "n_hidden": 7, "n_condition": 5, "n_mels": 8}
TIME = {"frame_length": 4, "sample_rate_hz": 100, "clip_s": 0.36}  # 9 frames of 4 samples
DIGITS, SPEAKERS = torch.tensor([0, 2, 1, 1]), torch.tensor([1, 0, 0, 1])
DURATION_S, PITCH_HZ = torch.tensor([0.3, 0.2, 0.36, 0.1]), torch.tensor([90.0, 200.0, 150.0, 110.0])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MuLawRNN(**SIZES, **TIME)


@pytest.fixture
def conditions(model):
    return model.conditions(DIGITS, SPEAKERS, DURATION_S, PITCH_HZ)


def classes(n_samples=36, seed=1):
    return torch.randint(11, (4, n_samples), generator=rng(seed))


def test_shapes(model, conditions):
    assert conditions.shape == (4, 9, 6)
    logits, state = model(classes(), conditions)
    assert logits.shape == (4, 36, 11) and state.shape == (1, 4, 7)


def test_chunks_with_the_state_carried_say_what_the_whole_says(model, conditions):
    whole, _ = model(classes(), conditions)
    state, found = None, []
    for start in range(0, 36, 10):  # 10 is no multiple of a frame
        logits, state = model(classes()[:, start : start + 10], conditions, state, start)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, dim=1), whole)


def test_a_sample_changes_no_score_before_its_successor(model, conditions):
    now = classes()
    changed = now.clone()
    changed[:, 20] = (changed[:, 20] + 5) % 11
    a, b = (model(shifted(x, model.silence), conditions)[0] for x in (now, changed))
    assert torch.equal(a[:, :21], b[:, :21])  # what is said of sample 20 does not know it
    assert not torch.equal(a[:, 21], b[:, 21])


def test_shifted_is_one_step_and_starts_with_silence():
    assert shifted(torch.tensor([[3, 4, 9]]), 5).tolist() == [[5, 3, 4]]


def test_folding_changes_no_score(model, conditions):
    folded = model.fold(conditions)
    previous, state = shifted(classes(), model.silence), torch.zeros(4, 7)
    wanted, _ = model(previous, conditions)
    for t in range(36):
        told = folded.table[previous[:, t]] + folded.conditions[:, t // folded.frame_length]
        r_x, z_x, n_x = told.chunk(3, dim=1)
        r_h, z_h, n_h = F.linear(state, folded.weight_hh, folded.bias_hh).chunk(3, dim=1)
        update, candidate = torch.sigmoid(z_x + z_h), torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
        state = (1 - update) * candidate + update * state
        logits = F.linear(state, folded.weight_out, folded.bias_out)
        torch.testing.assert_close(logits, wanted[:, t], atol=1e-5, rtol=1e-4)


def test_each_thing_that_is_told_changes_the_condition(model, conditions):
    other_digit = model.conditions((DIGITS + 1) % 3, SPEAKERS, DURATION_S, PITCH_HZ)
    other_speaker = model.conditions(DIGITS, 1 - SPEAKERS, DURATION_S, PITCH_HZ)
    slower = model.conditions(DIGITS, SPEAKERS, 1.3 * DURATION_S, PITCH_HZ)
    higher = model.conditions(DIGITS, SPEAKERS, DURATION_S, 1.3 * PITCH_HZ)
    for other in (other_digit, other_speaker, slower, higher):
        assert (other - conditions).abs().amax(dim=(1, 2)).min() > 1e-4
    assert not torch.equal(conditions[:, 0], conditions[:, 1])  # and time goes on


def test_frames_change_their_own_condition_and_the_one_before_and_only_where_told(model, conditions):
    frames = torch.rand(4, 8, 9, generator=rng(2))
    changed = frames.clone()
    changed[:, :, 5] += 1
    told = (DIGITS, SPEAKERS, DURATION_S, PITCH_HZ)
    is_told = torch.tensor([True, False, True, True])
    a, b = (model.conditions(*told, frames=x, is_told=is_told) for x in (frames, changed))
    differ = ((a - b).abs().amax(dim=2) > 0).int()  # (B, L)
    assert differ.sum(dim=1).tolist() == [2, 0, 2, 2] and differ[0].nonzero().squeeze(1).tolist() == [4, 5]
    torch.testing.assert_close(a[1], conditions[1])
    assert not torch.equal(a[0], conditions[0])


def test_frames_after_the_last_are_told_what_the_last_is(model, conditions):
    longer = torch.cat([conditions[:, :3], conditions[:, 2:3].expand(-1, 6, -1)], dim=1)
    torch.testing.assert_close(model(classes(), conditions[:, :3])[0], model(classes(), longer)[0])


def test_bits_count_only_what_lies_within(model, conditions):
    now = classes()
    inside = torch.arange(36) < torch.tensor([36, 5, 1, 20]).unsqueeze(1)
    parts, state = mulaw_rnn_parts(model, shifted(now, 5), now, inside, conditions)
    logits, _ = model(shifted(now, 5), conditions)
    chosen = logits.log_softmax(dim=2).gather(2, now.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(parts["bits"], -chosen[inside].mean() / math.log(2))
    assert not state.requires_grad


def test_chunks_that_start_anywhere_get_their_own_frames_conditions(model, conditions):
    now, starts = classes(), torch.tensor([8, 0, 28, 16])
    rows = torch.stack([now[b, s : s + 8] for b, s in enumerate(starts.tolist())])
    before = torch.stack([shifted(now, 5)[b, s : s + 8] for b, s in enumerate(starts.tolist())])
    whole = mulaw_rnn_parts(model, before, rows, torch.ones(4, 8, dtype=torch.bool), conditions, None, starts)[0]
    own = torch.stack([conditions[b, s // 4 : s // 4 + 2] for b, s in enumerate(starts.tolist())])
    wanted = mulaw_rnn_parts(model, before, rows, torch.ones(4, 8, dtype=torch.bool), own)[0]
    torch.testing.assert_close(whole["bits"], wanted["bits"])


def test_all_that_can_learn_gets_a_gradient(model):
    frames = torch.rand(4, 8, 9, generator=rng(2))
    conditions = model.conditions(DIGITS, SPEAKERS, DURATION_S, PITCH_HZ, frames=frames)
    now = classes()
    mulaw_rnn_parts(model, shifted(now, 5), now, torch.ones_like(now, dtype=torch.bool), conditions)[0][
        "bits"
    ].backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


def test_neighbouring_classes_start_alike():
    vectors = neighbourly_vectors(256, 128)
    distance = torch.cdist(vectors, vectors)
    assert bool((distance.diagonal(1) < distance.diagonal(8)[:1].min()).all())
    assert bool((distance + 100 * torch.eye(256)).min() > 1e-3)  # and no two are the same


def test_controls_are_drawn_as_they_were_fitted(model):
    with torch.no_grad():
        model.controls.mean[2, 1] = torch.tensor([-1.0, 2.0])
        model.controls.scale_tril[2, 1] = torch.tensor([[0.1, 0.0], [0.0, 0.2]])
    many = torch.full((4000,), 2), torch.ones(4000, dtype=torch.long)
    duration_s, pitch_hz = model.draw_controls(*many, rng())
    assert float(duration_s.log().mean()) == pytest.approx(LOG_DURATION[0] - LOG_DURATION[1], abs=0.01)
    assert float(pitch_hz.log().mean()) == pytest.approx(LOG_PITCH[0] + 2 * LOG_PITCH[1], abs=0.01)
    assert float(pitch_hz.log().std()) == pytest.approx(0.2 * LOG_PITCH[1], rel=0.05)
    assert float(duration_s.max()) <= 0.36
    standard = standardise_controls(duration_s[:5], pitch_hz[:5])
    assert float(standard[:, 1].mean()) == pytest.approx(2, abs=0.4)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda m: m.conditions(DIGITS, SPEAKERS, DURATION_S * 0, PITCH_HZ), "duration_s"),
        (lambda m: m.conditions(DIGITS, SPEAKERS, DURATION_S, -PITCH_HZ), "pitch_hz"),
        (lambda m: m.conditions(DIGITS + 1, SPEAKERS, DURATION_S, PITCH_HZ), "digit"),
        (lambda m: m.conditions(DIGITS[:3], SPEAKERS[:3], DURATION_S, PITCH_HZ), "label"),
        (lambda m: m.conditions(DIGITS, SPEAKERS, DURATION_S, PITCH_HZ, frames=torch.zeros(4, 8, 7)), "frames"),
        (lambda m: MuLawRNN(n_in=7), "even"),
        (lambda m: MuLawRNN(n_classes=1), "n_classes"),
    ],
)
def test_bad_input_is_refused(model, wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong(model)
