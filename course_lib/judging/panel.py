"""One way through judging: a panel made once a data set, and one call from waves to every figure of a record.

waves -> log-mels -> logits, embeddings, readings -> figures, each computed once. What does not depend on the sounds
(the judges, the training clips' embeddings, how far resynthesised speech is from them, how varied real speech is) is
kept.

Each figure means something only beside its anchors: what real speech, the same sent through log-mel and back (no model
of log-mels can sound better than that), and noise would get.
Taught in: notebooks 02 (the judge), 03 to 09 (each model), 10 (what the figures miss)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import Clips
from course_lib.judging.distances import frechet_distance, inception_score, nearest_distances
from course_lib.judging.faults import classes_covered, same_label_distance_db
from course_lib.judging.metrics import (
    balanced_rows,
    check_labels,
    in_batches,
    judge_embeddings,
    load_judge,
    load_speaker_judge,
    load_wave_judge,
    resynthesised,
    speech_shaped_noise,
)
from course_lib.judging.recogniser import recognise_digits, recogniser_available
from course_lib.sound.audio import fit_length
from course_lib.sound.features import AudioConfig, from_unit, log_mel, to_unit

PARTS = ("test", "validation")


@dataclass(frozen=True)
class Heard:
    """What the digit judge made of B sounds."""

    mels: Tensor  # (B, M, L) unit-scaled log-mels of the sound
    embeddings: Tensor  # (B, E)
    logits: Tensor  # (B, C)

    @property
    def read(self) -> Tensor:
        """The class read in each, (B,) int64."""
        return self.logits.argmax(dim=1)


class Panel:
    """All who judge the sounds of one data set, and all that their figures are compared with.

    Args:
        clips: the whole data set that the models learned from.
        cfg: how pictures are made; AudioConfig() at the clips' rate unless given.
        part: which real clips stand beside the samples: "test" for the figure in the end, "validation" for whatever is
            chosen. On validation clips the judge of raw waves stays silent: nothing may be chosen by it.
        judge: load_judge(clips.dataset) unless given.
    """

    def __init__(
        self, clips: Clips, cfg: AudioConfig | None = None, *, part: str = "test", judge: nn.Module | None = None
    ):
        if part not in PARTS:
            raise ValueError(f"part: got {part!r}, need {' or '.join(PARTS)}; nothing is judged beside training clips")
        self.clips, self.part = clips, part
        self.cfg = cfg or AudioConfig(sample_rate_hz=clips.sample_rate_hz)
        self.judge = judge or load_judge(clips.dataset, clips.device, self.cfg)
        self.real = clips.test if part == "test" else clips.validation
        self._anchors: dict[tuple[int, bool], tuple[Tensor, float]] = {}
        self._spreads: dict[bool, float] = {}

    @cached_property
    def speaker_judge(self) -> nn.Module:
        return load_speaker_judge(self.clips.dataset, self.clips.device, self.cfg)

    @cached_property
    def wave_judge(self) -> nn.Module | None:
        """None on validation clips, and where the data set has no such judge."""
        return load_wave_judge(self.clips.dataset, self.clips.device) if self.part == "test" else None

    def hear(self, waves: Tensor) -> Heard:
        """Pictures of sounds, and what the digit judge makes of them. waves: (B, T) in [-1, 1].

        Raises: ValueError for NaN or infinity."""
        waves = fit_length(waves.to(self.clips.device), self.clips.waves.shape[1])
        if not torch.isfinite(waves).all():
            raise ValueError("waves hold NaN or infinity: the model that made them has diverged; look at its loss")
        return self.look(to_unit(log_mel(waves, self.cfg), self.cfg))

    @torch.no_grad()
    def look(self, unit_mel: Tensor) -> Heard:
        """What the digit judge makes of pictures. (B, M, L)"""
        unit_mel = unit_mel.to(self.clips.device)
        embeddings = judge_embeddings(self.judge, unit_mel)
        return Heard(unit_mel, embeddings, self.judge.eval().to_logits(embeddings))

    def frechet_ratio(self, heard: Heard) -> float:
        """How many times as far from the training speech as resynthesised real speech is, in the judge's embedding.

        FD(samples, n training clips) / FD(n real clips through log-mel and back, the same n training clips), with n the
        number of samples, and rows as balanced_rows picks them. 1: as good as the vocoder allows. Under 1: nearer to
        the training clips than unheard real speech is; look for memorised clips (nearest_distances).

        Args:    heard: n samples, all digits equally frequent, n at most the number of clips of the panel's part."""
        train, ceiling = self._frechet_anchors(len(heard.embeddings))
        return frechet_distance(heard.embeddings, train) / ceiling

    def score(
        self,
        waves: Tensor,
        digits: Tensor,
        speakers: Tensor | None = None,
        *,
        recogniser: bool = True,
        second_judge: bool = True,
    ) -> dict[str, float | None]:
        """Every figure of a batch of generated sounds.

        Args:    waves: (B, T) in [-1, 1] at the clips' rate, B at most the number of the part's clips.
                 digits, speakers: (B,) what each was meant to say, as whom; digits equally frequent.
                 recogniser, second_judge: whether to ask PocketSphinx (10 ms a clip), the judge of raw waves (1.5 ms).
        Returns: n_clips; part (which real clips stand beside them); judged_accuracy; pocketsphinx_accuracy (None where
                 it is absent or not asked);
                 wave_judged and wave_frechet_ratio (None where there is no judge of raw waves); inception_score;
                 frechet_distance (to n_clips training clips) and frechet_ratio; nearest_sample_db (mean distance to
                 the nearest other sample: variety) and nearest_training_db (to the nearest training clip: 0 is a copy),
                 root-mean-square differences of log-mels in dB; and with speakers speaker_judged, digits_covered,
                 speakers_covered, diversity_ratio (variety within a digit and voice beside real speech's).
                 All but the accuracies depend on B: compare figures of equal B only."""
        waves, digits = fit_length(waves.to(self.clips.device), self.clips.waves.shape[1]), digits.to(self.clips.device)
        check_labels(digits, len(waves))
        heard = self.hear(waves)
        train, ceiling = self._frechet_anchors(len(waves))
        distance = frechet_distance(heard.embeddings, train)
        said = recognise_digits(waves, self.clips.sample_rate_hz) if recogniser and recogniser_available() else None
        mels_db = from_unit(heard.mels, self.cfg)
        figures = {
            "n_clips": len(waves),
            "part": self.part,
            "judged_accuracy": _share(heard.read == digits),
            "pocketsphinx_accuracy": None if said is None else _share(said == digits.cpu()),
            **self._wave_figures(waves, digits, asked=second_judge),
            "inception_score": inception_score(heard.logits),
            "frechet_distance": distance,
            "frechet_ratio": distance / ceiling,
            "nearest_sample_db": nearest_distances(mels_db).mean().item(),
            "nearest_training_db": nearest_distances(mels_db, self._train_db).mean().item(),
        }
        return figures if speakers is None else figures | self._who(heard, mels_db, digits, speakers)

    def anchors(self, n_clips: int | None = None, *, recogniser: bool = True, seed: int = 0) -> dict[str, dict]:
        """The same figures for real speech, for the same through log-mel and back, and for speech-shaped noise.

        Args:    n_clips: as many as the samples that will be compared (all of the part's clips unless given).
        Returns: {"real test speech": figures, "through log-mel and back": ..., "speech-shaped noise": ...}, as score
                 gives them; score_table shows them."""
        rows = balanced_rows(self.real, n_clips or len(self.real))
        chosen = self.real.select(rows)
        sounds = {
            f"real {self.part} speech": chosen.waves,
            "through log-mel and back": resynthesised(self.real, self.cfg)[rows],
            "speech-shaped noise": speech_shaped_noise(chosen, torch.Generator().manual_seed(seed)),
        }
        labels = (chosen.digits, chosen.speakers)
        return {name: self.score(waves, *labels, recogniser=recogniser) for name, waves in sounds.items()}

    # -- what is computed once ------------------------------------------------------------------------------------

    @cached_property
    def _train_db(self) -> Tensor:  # (N, M, L)
        return from_unit(clip_log_mels(self.clips.train, self.cfg), self.cfg)

    def _real_spread_db(self, by_voice: bool) -> float:
        """How far real clips of the part are from each other: of one digit and voice, or of one digit."""
        if by_voice not in self._spreads:
            mels_db = from_unit(clip_log_mels(self.real, self.cfg), self.cfg)
            labels = self._pairs(self.real.digits, self.real.speakers) if by_voice else self.real.digits
            self._spreads[by_voice] = same_label_distance_db(mels_db, labels)
        return self._spreads[by_voice]

    def _frechet_anchors(self, n_clips: int, raw: bool = False) -> tuple[Tensor, float]:
        """Embeddings (n, E) of n training clips, and how far n resynthesised real clips are from them.

        By the judge of pictures, or by that of raw waves."""
        if (n_clips, raw) not in self._anchors:
            train_rows, copies = self._rows(n_clips)
            if raw:
                judge, shown = self.wave_judge, (self.clips.train.waves[train_rows], copies)
            else:
                train = clip_log_mels(self.clips.train, self.cfg)[train_rows]
                judge, shown = self.judge, (train, to_unit(log_mel(copies, self.cfg), self.cfg))
            train, ceiling = (judge_embeddings(judge, clips) for clips in shown)
            self._anchors[n_clips, raw] = train, frechet_distance(ceiling, train)
        return self._anchors[n_clips, raw]

    def _rows(self, n_clips: int) -> tuple[Tensor, Tensor]:
        """Which n training clips stand for them, (n,), and n real clips through log-mel and back, (n, T)."""
        n_most = min(len(self.real), len(self.clips.train))
        if not 2 <= n_clips <= n_most:
            raise ValueError(
                f"got {n_clips} samples, need 2 to {n_most}, since as many {self.part} and training clips are compared "
                f"with them; judge the first {n_most}, and give the whole data set as clips"
            )
        copies = resynthesised(self.real, self.cfg)[balanced_rows(self.real, n_clips)]
        return balanced_rows(self.clips.train, n_clips), copies

    def _wave_figures(self, waves: Tensor, digits: Tensor, asked: bool) -> dict[str, float | None]:
        if not asked or self.wave_judge is None:
            return {"wave_judged": None, "wave_frechet_ratio": None}
        train, ceiling = self._frechet_anchors(len(waves), raw=True)
        embeddings = judge_embeddings(self.wave_judge, waves)
        read = self.wave_judge.to_logits(embeddings).argmax(dim=1)
        return {
            "wave_judged": _share(read == digits),
            "wave_frechet_ratio": frechet_distance(embeddings, train) / ceiling,
        }

    def _who(self, heard: Heard, mels_db: Tensor, digits: Tensor, speakers: Tensor) -> dict[str, float | int | None]:
        speakers = speakers.to(self.clips.device)
        check_labels(speakers, len(digits))
        who = in_batches(self.speaker_judge, self.speaker_judge, heard.mels).argmax(dim=1)
        pairs, real_pairs = self._pairs(digits, speakers), self._pairs(self.real.digits, self.real.speakers)
        by_voice = _repeats(pairs) and _repeats(real_pairs)  # of few clips, none may share both digit and voice
        labels = pairs if by_voice else digits
        spread_db = same_label_distance_db(mels_db, labels) if _repeats(labels) else None
        ratio = None if spread_db is None else spread_db / self._real_spread_db(by_voice)
        return {
            "speaker_judged": _share(who == speakers),
            "digits_covered": classes_covered(digits, heard.read, len(self.clips.digit_names)),
            "speakers_covered": classes_covered(speakers, who, len(self.clips.speaker_names)),
            "diversity_ratio": ratio,
        }

    def _pairs(self, digits: Tensor, speakers: Tensor) -> Tensor:
        return digits * len(self.clips.speaker_names) + speakers


def _repeats(labels: Tensor) -> bool:
    return len(labels.unique()) < len(labels)


def _share(right: Tensor) -> float:
    return right.double().mean().item()
