"""Long clips in short chunks, in order: how a recurrent network is trained on more samples than it can unroll.

Each of B streams plays clip after clip. A batch is the next chunk of every stream, and the state that a chunk has left
is where the next one starts, unless a new clip begins there (truncated back-propagation through time; Williams & Peng
1990). Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib.clips.clips import BatchIndices


class ClipStreams(Iterator[Tensor]):
    """Endless batches (B, 2) int64 for `fit`: of each stream, which clip, and at which sample its next chunk starts.

    A chunk's state is kept here between batches, so that a checkpoint, which asks for state_dict(), goes on exactly
    where a training was interrupted: `state = streams.carried(index)` before the step, `streams.carry(state)` after.

    Args:
        n_valid: (N,) int64, samples in each clip.
        n_streams: B.
        chunk: samples a batch and stream; a clip's last chunk reaches over its end.
        n_hidden: H, length of the state.
        rng: decides the order of the clips.
    """

    def __init__(self, n_valid: Tensor, n_streams: int, chunk: int, n_hidden: int, rng: torch.Generator):
        if len(n_valid) < 1 or int(n_valid.min()) < 1 or min(n_streams, chunk, n_hidden) < 1:
            raise ValueError(
                f"got {len(n_valid)} clips, n_streams={n_streams}, chunk={chunk}, n_hidden={n_hidden}; need at least 1 "
                "of each, and no empty clip"
            )
        self.n_valid, self.chunk = n_valid, chunk
        self.batch_size = n_streams
        self._order = BatchIndices(len(n_valid), 1, rng)
        self._clip = torch.cat([next(self._order) for _ in range(n_streams)])  # (B,)
        # Streams that all began at a first sample would all be at a last one together, some seconds later.
        begun = torch.rand(n_streams, generator=rng, device=rng.device)
        self._start = (begun * n_valid[self._clip] / chunk).long() * chunk  # (B,) of the chunk to come
        self._state = torch.zeros(1, n_streams, n_hidden, device=n_valid.device)

    def __next__(self) -> Tensor:  # (B, 2)
        over = self._start >= self.n_valid[self._clip]
        for row in over.nonzero().squeeze(1).tolist():
            self._clip[row] = next(self._order)
        self._start = torch.where(over, 0, self._start)
        batch = torch.stack([self._clip, self._start], dim=1)
        self._start = self._start + self.chunk
        return batch

    def carried(self, index: Tensor) -> Tensor:
        """The state (1, B, H) to start this batch's chunks from: zeros where a clip begins."""
        return self._state * (index[:, 1] > 0).to(self._state.dtype).unsqueeze(1)

    def carry(self, state: Tensor) -> None:
        """Keep the state (1, B, H) that this batch's chunks have left; no gradient goes back over it."""
        if state.shape != self._state.shape:
            raise ValueError(f"state: got {tuple(state.shape)}, need {tuple(self._state.shape)}")
        self._state = state.detach().float()

    def samples(self, sequence: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Cut each stream's chunk out of what belongs to the clips.

        Args:    sequence: (N, T), one row a clip.
        Returns: (B, chunk), the last sample repeated beyond T; and (B, chunk) bool, what lies within the recording."""
        at = index[:, 1:] + torch.arange(self.chunk, device=index.device)  # (B, chunk)
        rows = sequence[index[:, 0]]  # (B, T)
        return rows.gather(1, at.clamp(max=sequence.shape[1] - 1)), at < self.n_valid[index[:, 0]].unsqueeze(1)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold to go on exactly here."""
        order = {f"order_{name}": value for name, value in self._order.state_dict().items()}
        places = {"clip": self._clip.cpu().clone(), "start": self._start.cpu().clone()}
        return order | places | {"state": self._state.cpu().clone(), "chunk": torch.tensor(self.chunk)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where `state_dict` was taken. Raises: ValueError if it was taken with other sizes."""
        if state["state"].shape != self._state.shape or int(state["chunk"]) != self.chunk:
            raise ValueError(
                f"state of {tuple(state['state'].shape)} in chunks of {int(state['chunk'])}, but these streams are "
                f"{tuple(self._state.shape)} in chunks of {self.chunk}; give the same settings, or another folder"
            )
        self._order.load_state_dict({name[6:]: value for name, value in state.items() if name.startswith("order_")})
        device = self._state.device
        self._clip, self._start = state["clip"].to(device), state["start"].to(device)
        self._state = state["state"].to(device)
