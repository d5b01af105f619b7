"""Clips and BatchIndices: lengths, selections, kept features, and batches that visit every clip."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from course_lib.clips.clips import FADE_SAMPLES, N_SAMPLES, BatchIndices, Clips, fit_clip


def make_clips(n_clips: int = 7, n_samples: int = 5) -> Clips:
    takes = torch.arange(n_clips)
    return Clips(
        waves=torch.arange(n_clips, dtype=torch.float32)[:, None].expand(n_clips, n_samples) / n_clips,
        digits=takes % 3,
        speakers=takes % 2,
        takes=takes,
        n_valid=torch.full((n_clips,), 4),
        is_test=takes < 2,
        names=tuple(f"{take % 3}_s{take % 2}_{take}" for take in range(n_clips)),
        speaker_names=("s0", "s1"),
        is_validation=takes == 4,
    )


def test_fit_clip_pads_with_zeros_and_keeps_the_level():
    fitted, n_valid = fit_clip(torch.full((100,), 0.01))
    assert n_valid == 100 and fitted.shape == (N_SAMPLES,)
    assert torch.equal(fitted[:100], torch.full((100,), 0.01)) and not fitted[100:].any()


def test_fit_clip_cuts_with_a_fade_to_zero():
    fitted, n_valid = fit_clip(torch.full((N_SAMPLES + 1,), 0.5))
    assert n_valid == N_SAMPLES and fitted.shape == (N_SAMPLES,)
    assert (fitted[:-FADE_SAMPLES] == 0.5).all() and fitted[-1] == 0
    assert (fitted[-FADE_SAMPLES:].diff() < 0).all()
    exact, _ = fit_clip(torch.full((N_SAMPLES,), 0.5))
    assert (exact == 0.5).all()  # nothing was cut, so nothing is faded


def test_fit_clip_leaves_its_input_alone():
    wave = torch.full((N_SAMPLES + 9,), 0.5)
    fit_clip(wave)
    assert (wave == 0.5).all()


def test_train_validation_and_test_share_no_clip_and_lose_none():
    clips = make_clips()
    assert clips.test.names == ("0_s0_0", "1_s1_1") and clips.validation.names == ("1_s0_4",) and len(clips.train) == 4
    assert set(clips.train.names) | set(clips.validation.names) | set(clips.test.names) == set(clips.names)
    assert clips.train is clips.train and clips.validation is clips.validation  # kept: asking in a loop copies no waves
    assert "1 validation, 2 test" in repr(clips)


def test_without_a_validation_set_there_is_none_and_nothing_is_lost():
    clips = replace(make_clips(), is_validation=None)
    assert len(clips.validation) == 0 and len(clips.train) == 5
    assert clips.is_validation.dtype == torch.bool and not clips.is_validation.any()


def test_a_clip_is_never_both_for_choosing_and_for_testing():
    with pytest.raises(ValueError, match="1_s1_1 is a test clip and a validation clip; need one or neither"):
        replace(make_clips(), is_validation=torch.arange(7) == 1)


def test_select_by_mask_and_by_rows():
    clips = make_clips()
    by_mask = clips.select(clips.digits == 2)
    by_rows = clips.select(torch.tensor([2, -2]))
    assert by_mask.names == by_rows.names == ("2_s0_2", "2_s1_5")
    for name in ("waves", "digits", "speakers", "takes", "n_valid", "is_test", "is_validation"):
        assert torch.equal(getattr(by_mask, name), getattr(by_rows, name)), name
    assert by_mask.takes.tolist() == [2, 5]
    assert clips.select(torch.tensor([5, 2, 5])).takes.tolist() == [5, 2, 5]
    assert len(clips.select(torch.zeros(7, dtype=torch.bool))) == 0


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (torch.ones(6, dtype=torch.bool), ValueError, r"mask: got shape \(6,\), need \(7,\)"),
        (torch.tensor([0.0, 1.0]), ValueError, "need one axis of integers or a bool mask"),
        (torch.tensor([[0], [1]]), ValueError, "need one axis"),
        (torch.tensor([0, 7]), IndexError, "rows from 0 to 7: this set has 7 clips"),
        (torch.tensor([-8]), IndexError, "rows from -8"),
    ],
)
def test_select_refuses_what_is_no_row(rows, error, message):
    with pytest.raises(error, match=message):
        make_clips().select(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"waves": torch.zeros(7, 5, dtype=torch.float64)}, "waves: got torch.float64"),
        ({"waves": torch.zeros(6, 5)}, r"waves: .*7 names"),
        ({"digits": torch.zeros(7)}, "digits: got torch.float32"),
        ({"n_valid": torch.zeros(3, dtype=torch.int64)}, r"n_valid: got torch.int64 \(3,\)"),
        ({"is_test": torch.zeros(7, dtype=torch.int64)}, "is_test: .*need torch.bool"),
        ({"takes": torch.zeros(7, dtype=torch.int64, device="meta")}, "takes is on meta"),
    ],
)
def test_clips_refuse_parts_that_do_not_fit(change, message):
    parts = {name: getattr(make_clips(), name) for name in Clips.__dataclass_fields__ if name[0] != "_"}
    with pytest.raises(ValueError, match=message):
        Clips(**{**parts, **change})


def test_features_are_computed_once_and_sliced_by_selections():
    clips, calls = make_clips(), []

    def compute(subset: Clips) -> torch.Tensor:
        calls.append(len(subset))
        return subset.takes.float()[:, None] * torch.ones(3)  # (N, 3)

    train = clips.train  # selected before the feature exists
    whole = clips.feature("takes", compute)
    assert clips.feature("takes", compute) is whole and whole.shape == (7, 3)
    odd_train = train.select(train.takes % 2 == 1)
    assert odd_train.feature("takes", compute)[:, 0].tolist() == [3, 5]  # through two selections
    assert train.feature("takes", compute)[:, 0].tolist() == [2, 3, 5, 6]
    assert calls == [7]
    assert clips.feature("other", compute) is not whole and calls == [7, 7]


def test_a_selection_computes_for_itself_where_the_whole_has_not():
    clips = make_clips()
    assert clips.test.feature("takes", lambda subset: subset.takes).tolist() == [0, 1]
    assert clips.feature("takes", lambda subset: subset.takes).tolist() == list(range(7))
    with pytest.raises(ValueError, match="returned 3 rows for 7 clips"):
        clips.feature("wrong", lambda subset: torch.zeros(3))


def test_to_moves_everything_and_keeps_features():
    clips = make_clips()
    clips.feature("takes", lambda subset: subset.takes)
    assert clips.to("cpu") is clips
    moved = clips.to("meta")
    assert moved.device.type == "meta" and moved.feature("takes", lambda _: pytest.fail("computed again")).is_meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_clips_on_a_gpu():
    clips = make_clips().to("cuda")
    assert clips.select(torch.tensor([1, 2])).takes.tolist() == [1, 2]  # rows from the CPU
    assert clips.test.waves.is_cuda and clips.train.to("cpu").takes.tolist() == [2, 3, 5, 6]
    rows = next(BatchIndices(7, 3, torch.Generator("cuda").manual_seed(0)))
    assert rows.is_cuda and clips.waves[rows].shape == (3, 5)


@pytest.mark.parametrize(("n_clips", "batch_size"), [(10, 4), (7, 7), (5, 8), (1, 1), (300, 64)])
def test_every_epoch_visits_every_clip_once(n_clips, batch_size):
    batches = BatchIndices(n_clips, batch_size, torch.Generator().manual_seed(3))
    drawn = [next(batches) for _ in range(n_clips)]  # batch_size epochs
    assert {tuple(batch.shape) for batch in drawn} == {(batch_size,)}
    epochs = torch.cat(drawn).view(batch_size, n_clips)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(n_clips).expand(batch_size, -1))
    assert batches.epoch == batch_size


def test_same_seed_same_batches_other_epoch_other_order():
    first, again, other = (BatchIndices(50, 50, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    one, two = next(first), next(first)
    assert torch.equal(one, next(again)) and not torch.equal(one, two) and not torch.equal(one, next(other))


@pytest.mark.parametrize("n_before", [0, 1, 2, 3, 7])
def test_batches_resume_exactly(n_before):
    batches = BatchIndices(10, 4, torch.Generator().manual_seed(5))
    for _ in range(n_before):
        next(batches)
    state = batches.state_dict()
    expected = [next(batches) for _ in range(6)]
    resumed = BatchIndices(10, 4, torch.Generator().manual_seed(99))
    resumed.load_state_dict(state)
    assert resumed.epoch == n_before * 4 / 10
    for batch in expected:
        assert torch.equal(next(resumed), batch)


def test_batches_refuse_a_state_of_other_clips():
    state = BatchIndices(10, 4, torch.Generator()).state_dict()
    with pytest.raises(ValueError, match="10 clips in batches of 4, but these are 10 in batches of 5"):
        BatchIndices(10, 5, torch.Generator()).load_state_dict(state)
    with pytest.raises(ValueError, match="got 0 clips"):
        BatchIndices(0, 4, torch.Generator())
