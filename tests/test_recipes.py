"""Recipes run, and what they made is what its record says."""

import json
import re
from dataclasses import asdict

import pytest
import torch

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.loading import load_clips
from course_lib.judging.metrics import balanced_rows
from course_lib.judging.panel import Panel
from course_lib.recipes import gans, making, rnns, scores, speech
from course_lib.recipes import judge as judge_recipe
from course_lib.recipes.frames import FRAME_CONFIG, frames_of
from course_lib.recipes.vaes import elbo_scores
from course_lib.settings.profiles import bundled_dir
from course_lib.sound.audio import read_wave
from course_lib.sound.features import AudioConfig
from course_lib.training import precision
from course_lib.training.pretrained import MAX_BYTES, load_pretrained
from course_lib.training.storage import CheckpointError

CFG = AudioConfig()
PRETRAINED = bundled_dir() / "pretrained"
NAMES = sorted(path.stem for path in PRETRAINED.glob("*.json"))


def test_noise_is_of_many_kinds_and_always_a_picture():
    rng = torch.Generator().manual_seed(0)
    pictures = torch.cat([judge_recipe.noise_mels(9, CFG, rng) for _ in range(40)])
    assert pictures.shape == (360, 64, 64) and pictures.isfinite().all() and pictures.abs().max() <= 1
    levels = pictures.mean(dim=(1, 2))
    assert levels.min() < -0.8 and levels.max() > 0.0 and len(levels.unique()) > 300


def test_noise_is_a_matter_of_the_seed():
    one, two, other = (judge_recipe.noise_mels(5, CFG, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_vocoded_pictures_resemble_the_originals():
    mels = clip_log_mels(load_clips("bundled").select(torch.arange(3)), CFG)
    again = judge_recipe.vocoded_mels(mels, CFG)
    assert again.shape == mels.shape and 0 < (again - mels).abs().mean() < 0.1


def test_an_unknown_recipe_lists_the_known():
    with pytest.raises(CheckpointError, match="no recipe 'judge_x': need one of .*judge_bundled, judge_fsdd"):
        making.train("judge_x")


def test_a_smoke_run_writes_a_loadable_judge_and_touches_no_good_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROFILE", "smoke")
    monkeypatch.setenv("COURSE_RUNS_DIR", str(tmp_path))
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    monkeypatch.setattr(precision, "bf16_speedup", lambda *_: 0.5)
    before = {path: path.stat().st_mtime_ns for path in PRETRAINED.iterdir()}
    path = making.train("judge_bundled")
    assert path == tmp_path / "pretrained_smoke" / "judge_bundled.safetensors"
    judge, record = load_pretrained("judge_bundled", folder=path.parent)
    assert record["dataset"] == "bundled" and record["steps"] == 10 and judge(torch.zeros(2, 64, 64)).shape == (2, 10)
    assert {path: path.stat().st_mtime_ns for path in PRETRAINED.iterdir()} == before
    again = making.train("judge_bundled")  # anew, and with the same seed to the same weights
    assert load_pretrained("judge_bundled", folder=again.parent)[1]["digest"] == record["digest"]
    assert "Already trained" not in capsys.readouterr().out


def test_there_are_pretrained_judges_for_both_sets():
    kinds = {"judge_fsdd", "judge_bundled", "speaker_judge_fsdd", "speaker_judge_bundled", "judge_wave_fsdd"}
    assert kinds <= set(NAMES)


def test_a_smoke_run_of_a_gan_keeps_both_players_and_a_sample(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "smoke")
    monkeypatch.setenv("COURSE_RUNS_DIR", str(tmp_path))
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    monkeypatch.setitem(making.RECIPES, "cgan", lambda checkpoints: gans.train_cgan("bundled", checkpoints))
    path = making.train("cgan")
    generator, record = load_pretrained("cgan", folder=path.parent)
    discriminator, of_both = load_pretrained("cgan_discriminator", folder=path.parent)
    assert record["steps"] == of_both["steps"] == 10 and record["metrics"] == of_both["metrics"]
    labels = torch.tensor([3, 7]), torch.tensor([0, 5])
    pictures = generator(torch.zeros(2, 100), *labels)
    assert discriminator(pictures, *labels).shape == (2,)
    wave, rate_hz = read_wave(path.with_suffix(".flac"))
    assert wave.shape == (10 * 8192,) and rate_hz == 8000


@pytest.mark.parametrize("name", NAMES)
def test_each_pretrained_model_has_its_recipe_and_its_record(name):
    model, record = load_pretrained(name)
    assert name.removesuffix("_discriminator") in making.RECIPES
    assert record["params"] == sum(p.numel() for p in model.parameters())
    assert (PRETRAINED / f"{name}.safetensors").stat().st_size <= MAX_BYTES
    cfg = FRAME_CONFIG if name.startswith("frame_") else CFG
    assert record["audio_config"] == json.loads(json.dumps(asdict(cfg))), f"retrain: course train {name}"


@pytest.mark.parametrize("name", [name for name in NAMES if "judge_" in name])
def test_the_judges_deserve_to_be_believed(name, clips):
    judge, record = load_pretrained(name)
    metrics = record["metrics"]
    reads = "speakers" if name.startswith("speaker_") else "digits"
    vocoded = 0.95 if name.startswith("judge_wave_") else 0.99  # one of them has never met a vocoder
    assert metrics["test_accuracy"] >= 0.99 and metrics["vocoded_accuracy"] >= vocoded
    assert metrics["noise_confidence"] < 0.2
    assert metrics["test_inception_score"] >= 0.75 * record["config"]["n_classes"]
    if record["dataset"] == "bundled":
        clips = load_clips("bundled")
    elif clips.dataset != record["dataset"]:
        pytest.skip(f"{record['dataset']} is not in the cache")
    if name.startswith("judge_wave_"):
        found = judge_recipe.wave_judge_metrics(judge, clips.test, CFG)
    else:
        found = judge_recipe.judge_metrics(judge, clips.test, CFG, reads)
    assert found["test_accuracy"] == pytest.approx(metrics["test_accuracy"], abs=0.004)
    assert found["vocoded_accuracy"] >= vocoded and found["noise_confidence"] < 0.2


@pytest.mark.parametrize("name", ["frame_ae", "conv_ae", "denoiser", "frame_vae", "cvae", "melrnn", "mulaw_rnn"])
def test_a_smoke_run_of_each_speaker_writes_weights_that_load_and_a_sound(name, tmp_path, monkeypatch, clips):
    if clips.dataset != "fsdd":
        pytest.skip("these recipes learn from fsdd, which is not in the cache")
    monkeypatch.setenv("COURSE_PROFILE", "smoke")
    monkeypatch.setenv("COURSE_RUNS_DIR", str(tmp_path))
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    monkeypatch.setattr(precision, "bf16_speedup", lambda *_: 0.5)
    path = making.train(name)
    model, record = load_pretrained(name, folder=path.parent)
    assert record["steps"] == 10 and all(torch.isfinite(p).all() for p in model.parameters())
    assert all(value is not None and abs(value) < float("inf") for value in record["metrics"].values())
    wave, rate_hz = read_wave(path.with_suffix(".flac"))
    assert rate_hz == CFG.sample_rate_hz and len(wave) >= 2 * 8192 and wave.abs().max() > 0


def test_frames_are_the_columns_of_the_pictures():
    clips = load_clips("bundled").select(torch.arange(3))
    frames = frames_of(clips)
    assert frames.shape == (3 * 64, 80)
    assert torch.equal(frames[2 * 64 + 5], clip_log_mels(clips, FRAME_CONFIG)[2, :, 5])


def test_the_voice_is_understood_and_is_no_memory_of_its_clips():
    _, record = load_pretrained("cvae")
    metrics = record["metrics"]
    assert metrics["judged"] >= 0.97 and metrics["frechet_ratio"] <= 1.3 and metrics["pocketsphinx"] >= 0.55
    assert metrics["nearest_train"] >= 0.97 * metrics["nearest_train_of_test"]
    assert metrics["iwae_nats"] >= metrics["elbo_nats"]
    latents, latents_record = load_pretrained("cvae_latents")
    assert latents_record["fitted_to"] == record["digest"], "fit them again: course train cvae_latents"
    assert latents.config["z_dim"] == record["config"]["z_dim"]


def test_a_recorded_bound_is_what_the_weights_reach(clips):
    model, record = load_pretrained("cvae")
    if clips.dataset != record["dataset"]:
        pytest.skip(f"{record['dataset']} is not in the cache")
    found = elbo_scores(model, clips.test.select(torch.arange(0, len(clips.test), 5)), CFG)
    assert found["elbo_nats"] == pytest.approx(record["metrics"]["elbo_nats"], rel=0.05)
    assert found["iwae_nats"] >= found["elbo_nats"]


def test_the_frame_network_is_understood():
    metrics = load_pretrained("melrnn")[1]["metrics"]
    assert metrics["judged"] >= 0.99 and metrics["frechet_ratio"] <= 1.25 and metrics["pocketsphinx"] >= 0.5
    assert metrics["digits_covered"] == 10 and metrics["speakers_covered"] == 6


def test_the_painter_is_understood_and_paints_every_digit_and_voice():
    metrics = load_pretrained("cgan")[1]["metrics"]
    assert metrics["judged"] >= 0.98 and metrics["frechet_ratio"] <= 1.35 and metrics["diversity_ratio"] >= 0.85
    assert metrics["digits_covered"] == 10 and metrics["speakers_covered"] == 6


@pytest.mark.parametrize("name", ["cvae", "cgan", "melrnn"])
def test_what_was_chosen_was_chosen_on_the_validation_set_and_the_record_says_so(name):
    record = load_pretrained(name)[1]
    moment = re.match(r"best of (\d+) moments by validation Frechet ratio, at step ([\d,]+) \(", record["chosen"])
    assert moment and int(moment[1]) > 5 and 0 < int(moment[2].replace(",", "")) <= record["steps"]
    assert {"wave_judged", "wave_frechet_ratio"} <= record["metrics"].keys()


@pytest.mark.parametrize("name", NAMES)
def test_every_record_says_how_its_weights_were_chosen(name):
    assert load_pretrained(name)[1]["chosen"].strip()


def test_recipes_choose_by_nothing_that_the_test_set_says(clips, monkeypatch):
    """With test clips that are not numbers, whatever chooses still chooses, and the same."""
    monkeypatch.setenv("COURSE_PROFILE", "smoke")
    clips = speech.smaller(clips)
    spoilt = clips.select(torch.arange(len(clips)))
    spoilt.waves[spoilt.is_test] = float("nan")

    def speaker_of(level: float) -> scores.Speak:  # validation speech in ever more noise
        heard = clips.validation.waves[balanced_rows(clips.validation, 20)]
        return lambda digits, speakers, rng: heard + level * torch.randn(heard.shape, generator=rng)

    levels = (0.3, 0.001, 0.1)
    assert scores.choose(speaker_of, levels, clips, CFG) == scores.choose(speaker_of, levels, spoilt, CFG) == 0.001
    ratios = [scores.validation_ratio(speaker_of(0.1), Panel(part, CFG, part="validation")) for part in (clips, spoilt)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-5)


def test_the_sample_network_foresees_more_than_a_linear_predictor(clips):
    model, record = load_pretrained("mulaw_rnn")
    metrics = record["metrics"]
    assert metrics["bits_per_sample"] < metrics["linear_prediction_bits_per_sample"]
    assert metrics["linear_prediction_bits_per_sample"] < metrics["order_2_bits_per_sample"]
    if clips.dataset != record["dataset"]:
        pytest.skip(f"{record['dataset']} is not in the cache")
    assert rnns.heldout_bits(model, clips.test) == pytest.approx(metrics["bits_per_sample"], rel=0.002)
