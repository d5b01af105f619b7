"""What the figures mean, and the bars that we set: the words of README.md here, which `page` fills with values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A figure, in words, and the bar for its median.

    Args:
        name: of a bench's row, of a reported figure, or of a metric of a record.
        at_least, at_most: the bar; a string names another figure of the same record or notebook.
        of: "ratio" (times better than the peer), or "ours" (our own figure), for rows of benches.
        more: what else the bar says, in words.
    """

    name: str
    what: str
    at_least: float | str | None = None
    at_most: float | str | None = None
    of: str = "ratio"
    more: str = ""


BENCHES: tuple[Claim, ...] = (
    Claim("import", "`import course_lib`, beside and on top of `import torch`", at_most=0.2, of="ours"),
    Claim("import_modules", "the modules that notebooks use, on top of `import torch`"),
    Claim("features", "log-mels into a training loop, beside librosa in a `DataLoader`", at_least=100),
    Claim("features_first_pass", "the one pass that computes them, beside the same `DataLoader`"),
    Claim("vocoder", "log-mel to sound, a clip, beside `librosa.feature.inverse.mel_to_audio`", at_least=20),
    Claim("vocoder_judged", "the same sound, read by the judge", at_least=0.99, of="ours"),
    Claim("vocoder_pocketsphinx", "the same, read by PocketSphinx"),
    Claim("vae_step", "a VAE's training step, beside the plain one", at_least=1.1, more="≥ 2 × with AMX"),
    Claim("wavegan_step", "a WaveGAN's step, beside nearest up-sampling and WGAN-GP in fp32", at_least=6),
    Claim("wavegan_step_small", "the same with the networks of the course", at_least=6),
    Claim("wavegan_generate_b1", "writing waves, 1 at once, beside nearest up-sampling", at_least=100, of="ours"),
    Claim("wavegan_generate_b64", "the same, 64 at once", at_least=400, of="ours"),
    Claim("ar_sampling_b1", "sample by sample, 1 clip, beside the plain loop over `nn.GRU`: same samples", at_least=6),
    Claim("ar_sampling_b1_h256", "the same, hidden size 256", at_least=6),
    Claim("ar_sampling_b16", "the same, 16 clips", at_least=3),
    Claim("ar_sampling_b16_h256", "the same, 16 clips, hidden size 256", at_least=3),
    Claim("ar_sampling_vs_wavernn", "beside `torchaudio.models.WaveRNN.infer`, equal hidden size", at_least=10),
    Claim("ar_sampling_vs_wavernn_h256", "the same, hidden size 256", at_least=10),
    Claim("score", "every figure of 300 waves, panel and reference included, beside version 0.1.0's way", at_least=2),
    Claim("score_more", "the same of each further set of 300", at_least=2),
    Claim("grade_one", "marking a submission, a warm Marker, beside nbgrader's autograder", at_most=60, of="ours"),
    Claim("grade_many", "a class, start to exit, all reports: 10,000 in 5 minutes", at_least=10_000 / 300, of="ours"),
    Claim("grade_many_marking", "marking alone, in the same run", at_least=40, of="ours"),
)

RECORDS: dict[str, tuple[Claim, ...]] = {
    "judge_fsdd": (Claim("test_accuracy", "digits of real test speech read right", at_least=0.99),),
    "judge_wave_fsdd": (Claim("test_accuracy", "the same, by the judge that nothing is chosen by", at_least=0.99),),
    "denoiser": (
        Claim("denoised_judged", "noise at 5 dB, read right", at_least="spectral_subtraction_judged"),
        Claim("denoised_mcd_db", "mel-cepstral distance, dB", at_most="spectral_subtraction_mcd_db"),
    ),
    "frame_vae": (Claim("judged", "sentences through it, read right", at_least=0.95),),
    "cvae": (
        Claim("judged", "read right", at_least=0.97),
        Claim("frechet_ratio", "Fréchet ratio", at_most=1.3),
        Claim("wave_judged", "read right by the judge that nothing is chosen by"),
        Claim("wave_frechet_ratio", "Fréchet ratio by the same"),
        Claim("pocketsphinx", "read right by PocketSphinx", at_least=0.55),
        Claim("nearest_train", "nearest training clip, dB", at_least="nearest_train_of_test"),
    ),
    "cgan": (
        Claim("judged", "read right", at_least=0.98),
        Claim("frechet_ratio", "Fréchet ratio", at_most=1.35),
        Claim("wave_judged", "read right by the judge that nothing is chosen by"),
        Claim("wave_frechet_ratio", "Fréchet ratio by the same"),
        Claim("diversity_ratio", "variety within a digit and voice, beside test speech's", at_least=0.85),
        Claim("digits_covered", "digits that it can say", at_least=10),
        Claim("speakers_covered", "voices that it can speak in", at_least=6),
    ),
    "cwavegan": (
        Claim("judged", "read right", at_least=0.85),
        Claim("inception", "inception score", at_least=5),
        Claim("frechet_ratio", "Fréchet ratio", at_most=4.2),
        Claim("stride_buzz_db", "worst line at a stride's frequency, dB over the recordings' worst", at_most=1.5),
    ),
    "melrnn": (
        Claim("judged", "read right", at_least=0.99),
        Claim("frechet_ratio", "Fréchet ratio", at_most=1.25),
        Claim("wave_judged", "read right by the judge that nothing is chosen by"),
        Claim("wave_frechet_ratio", "Fréchet ratio by the same"),
        Claim("pocketsphinx", "read right by PocketSphinx", at_least=0.5),
    ),
    "mulaw_rnn": (
        Claim("bits_per_sample", "bits a sample, unheard clips", at_most="linear_prediction_bits_per_sample"),
        Claim("judged", "told melrnn's frames, read right", at_least=0.7),
        Claim("judged_without_frames", "told digit, voice, pitch and length only, read right", at_least=0.7),
    ),
}

NOTEBOOKS: tuple[Claim, ...] = (
    Claim("judge_test_accuracy", "the judge on the test set", at_least=0.99),
    Claim("judge_train_seconds", "its training, s", at_most=90),
    Claim("vocoder_judged", "test clips through log-mel and back, read by the judge", at_least=0.99),
    Claim("vocoder_pocketsphinx_ratio", "the same by PocketSphinx, over its share on the originals", at_least=0.9),
    Claim("denoise_mcd_db", "denoiser at 5 dB: mel-cepstral distance", at_most="spectral_subtraction_mcd_db"),
    Claim("denoise_judged", "the same, read by the judge", at_least="spectral_subtraction_judged"),
    Claim("denoise_quick_judged", "the notebook's own denoiser", at_least="spectral_subtraction_judged"),
    Claim("frame_vae_judged", "sentences of digits through the frame VAE", at_least=0.95),
    Claim("cvae_judged", "conditional VAE, read right", at_least=0.95),
    Claim("cvae_frechet_ratio", "its Fréchet ratio", at_most=2.1),
    Claim("cvae_pocketsphinx", "the same, by PocketSphinx", at_least=0.45),
    Claim("cvae_train_seconds", "its training, s", at_most=240),
    Claim("cvae_seconds_to_90", "training until 0.90 are read right, s", at_most=120),
    Claim("cgan_judged", "conditional GAN, read right", at_least=0.75),
    Claim("cgan_frechet_ratio", "its Fréchet ratio", at_most=8.5),
    Claim("cgan_train_seconds", "its training, s", at_most=300),
    Claim("melrnn_judged", "mel-frame GRU, read right", at_least=0.95),
    Claim("melrnn_frechet_ratio", "its Fréchet ratio", at_most=2.6),
    Claim("melrnn_inception", "its inception score", at_least=5.5),
    Claim("melrnn_train_seconds", "its training, s", at_most=240),
    *(Claim(f"{number:02}_seconds", f"notebook {number:02} from top to end, s", at_most=300) for number in range(10)),
)
