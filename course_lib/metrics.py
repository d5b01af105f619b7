"""Figures that say how good generated sound is, first version."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.clips import Clips
from course_lib.features import AudioConfig, clip_log_mels, dct_matrix
from course_lib.models.classifier import DigitClassifier
from course_lib.pretrained import load_pretrained
from course_lib.recogniser import MissingRecogniser, recognise_digits, recogniser_available

__all__ = ["MissingRecogniser", "recognise_digits", "recogniser_available"]


def load_judge(dataset: str, device: str | torch.device = "cpu") -> DigitClassifier:
    """The pretrained judge of a data set ("fsdd" or "bundled"), in eval mode."""
    return load_pretrained(f"judge_{dataset}", device)[0].eval()


@torch.no_grad()
def judged_accuracy(judge: DigitClassifier, unit_mel: Tensor, digits: Tensor) -> float:
    """Share of clips (B, M, L) that the judge reads as their intended digit (B,)."""
    return float((judge(unit_mel).argmax(dim=1) == digits).float().mean())


def inception_score(logits: Tensor) -> float:
    """exp of the mean KL(p(y|x) || p(y)), in [1, C] (Salimans et al. 2016). logits: (B, C)."""
    log_p = logits.double().log_softmax(dim=1)  # (B, C)
    log_marginal = log_p.logsumexp(dim=0) - torch.tensor(len(log_p), dtype=torch.float64).log()  # (C,)
    return float((log_p.exp() * (log_p - log_marginal)).sum(dim=1).mean().exp())


def frechet_distance(emb_a: Tensor, emb_b: Tensor) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to two sets of embeddings, (B, E) each, equal B."""
    if emb_a.shape != emb_b.shape:
        raise ValueError(f"got {tuple(emb_a.shape)} and {tuple(emb_b.shape)}; need equal numbers of clips: cut to n")
    a, b = emb_a.double(), emb_b.double()
    root = _square_root(a.T.cov())
    cross = _square_root(root @ b.T.cov() @ root)
    return float((a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * cross.trace())


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def nearest_distances(points: Tensor, others: Tensor | None = None) -> Tensor:
    """Distance from each point (B, E) to its nearest neighbour among `others`, or among the rest of `points`. (B,)"""
    distance = torch.cdist(points, points if others is None else others)
    if others is None:
        distance.fill_diagonal_(float("inf"))
    return distance.amin(dim=1)


@torch.no_grad()
def frechet_ratio(judge: DigitClassifier, samples_mel: Tensor, clips: Clips, cfg: AudioConfig) -> float:
    """FD(samples, train) / FD(resynthesised test, train), equal numbers of clips."""
    from course_lib.features import log_mel, to_unit
    from course_lib.vocoder import vocode

    n = min(len(samples_mel), len(clips.test), len(clips.train))
    train = judge.embed(clip_log_mels(clips.train, cfg)[:n])
    again = to_unit(log_mel(vocode(clip_log_mels(clips.test, cfg)[:n], cfg), cfg), cfg)
    return frechet_distance(judge.embed(samples_mel[:n]), train) / frechet_distance(judge.embed(again), train)


def mel_cepstral_distance(mel_a_db: Tensor, mel_b_db: Tensor, n_mfcc: int = 13) -> Tensor:
    """Mel-cepstral distance in dB, (B, M, L) twice -> (B,), c0 (the level) left out (Kubichek 1993)."""
    per_db = torch.log(torch.tensor(10.0)) / 10
    dct = dct_matrix(n_mfcc, mel_a_db.shape[-2]).to(mel_a_db)[1:]
    difference = dct @ (mel_a_db - mel_b_db) * per_db
    return 10 / torch.log(torch.tensor(10.0)) * (2 * difference.square().sum(-2)).sqrt().mean(-1)
