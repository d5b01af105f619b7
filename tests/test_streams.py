import pytest
import torch
from torch import nn

from course_lib.clips.streams import ClipStreams
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.loops import fit

N_VALID = torch.tensor([7, 12, 3, 20, 9])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def streams(seed=0, n_streams=3, chunk=4, n_hidden=2):
    return ClipStreams(N_VALID, n_streams, chunk, n_hidden, rng(seed))


def test_each_clip_is_played_in_order_from_its_start_to_its_end():
    source, played = streams(), [[] for _ in range(3)]
    for _ in range(60):
        for row, (clip, start) in enumerate(next(source).tolist()):
            played[row].append((clip, start))
    for row in played:
        assert any(start == 0 for _, start in row)
        for (clip, start), (following, following_start) in zip(row, row[1:], strict=False):
            if start + 4 < N_VALID[clip]:
                assert (following, following_start) == (clip, start + 4)
            else:
                assert following_start == 0


def test_an_epoch_visits_every_clip_once():
    source, begun = streams(n_streams=1), []
    for _ in range(200):
        clip, start = next(source)[0].tolist()
        begun += [clip] if start == 0 else []
    assert sorted(begun[4:9]) == [0, 1, 2, 3, 4]  # the stream began inside its first clip


def test_the_state_goes_on_within_a_clip_and_never_into_the_next():
    source = streams()
    source.carry(torch.full((1, 3, 2), 5.0))
    for _ in range(30):
        index = next(source)
        carried = source.carried(index)
        for row in range(3):
            assert (carried[0, row] == (0.0 if index[row, 1] == 0 else 5.0)).all()


def test_no_gradient_goes_back_over_a_carried_state():
    source = streams()
    source.carry(torch.ones(1, 3, 2, requires_grad=True) * 2)
    assert not source.carried(torch.tensor([[0, 4], [1, 4], [2, 4]])).requires_grad


def test_samples_are_the_clips_own_and_ends_are_marked():
    sequence = torch.arange(5 * 20).view(5, 20)
    found, inside = streams().samples(sequence, torch.tensor([[1, 8], [2, 0], [3, 16]]))
    assert found.tolist() == [[28, 29, 30, 31], [40, 41, 42, 43], [76, 77, 78, 79]]
    assert inside.tolist() == [[True] * 4, [True, True, True, False], [True] * 4]
    beyond, inside = ClipStreams(torch.tensor([10]), 1, 8, 1, rng()).samples(
        torch.arange(10).unsqueeze(0), torch.tensor([[0, 8]])
    )
    assert beyond.tolist() == [[8, 9, 9, 9, 9, 9, 9, 9]] and inside.sum() == 2


def test_going_on_from_a_state_dict_is_exact():
    first = streams()
    for _ in range(7):
        next(first)
    first.carry(torch.randn(1, 3, 2, generator=rng(3)))
    again = streams(seed=9)
    again.load_state_dict(first.state_dict())
    for _ in range(20):
        a, b = next(first), next(again)
        assert torch.equal(a, b) and torch.equal(first.carried(a), again.carried(b))


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 2, batch_first=True)

    def forward(self, x, state):
        return self.gru(x, state)


def trained(folder, n_steps, stop_at=None):
    torch.manual_seed(0)
    model, source, generator = Counter(), streams(), rng()
    sequence = torch.randn(5, 20, generator=rng(1))

    def batch_loss(model, index, rng):
        x, inside = source.samples(sequence, index)
        hidden, state = model(x.unsqueeze(2), source.carried(index))
        source.carry(state)
        return {"squares": ((hidden.mean(dim=2) - x).square() * inside).sum()}

    def on_step(step, model):
        if step == stop_at:
            raise KeyboardInterrupt

    arguments = {"n_steps": n_steps, "learning_rate": 0.01, "rng": generator, "checkpoints": Checkpoints(folder)}
    fit(model, batch_loss, source, save_every_steps=5, on_step=on_step, progress=False, device="cpu", **arguments)
    return model.state_dict()


def test_a_training_that_was_interrupted_ends_in_the_same_weights(tmp_path):
    whole = trained(tmp_path / "whole", 30)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", 30, stop_at=17)
    resumed = trained(tmp_path / "broken", 30)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="empty clip"):
        ClipStreams(torch.tensor([4, 0]), 2, 3, 5, rng())
    with pytest.raises(ValueError, match="chunk=0"):
        ClipStreams(N_VALID, 2, 0, 5, rng())
    with pytest.raises(ValueError, match="need \\(1, 3, 2\\)"):
        streams().carry(torch.zeros(1, 3, 4))
    with pytest.raises(ValueError, match="other|another|same settings"):
        streams(chunk=5).load_state_dict(streams().state_dict())
