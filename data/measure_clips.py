"""Print the measurements on the data cards, as Markdown tables.

python data/measure_clips.py fsdd        # or bundled
python data/measure_clips.py fsdd --pocketsphinx   # how well an independent recogniser reads it (about a minute)
"""

from __future__ import annotations

import argparse

import torch

from course_lib.clips.clips import Clips
from course_lib.clips.loading import load_clips
from course_lib.sound.audio import peak_level_db, rms_level_db

FRAME_SAMPLES = 160  # 20 ms


def db(ratio: torch.Tensor) -> torch.Tensor:
    return 20 * ratio.clamp_min(1e-6).log10()


def valid_waves(clips: Clips) -> list[torch.Tensor]:
    """Each clip without its padding."""
    return [wave[:n_valid] for wave, n_valid in zip(clips.waves, clips.n_valid.tolist(), strict=True)]


def frame_levels_db(wave: torch.Tensor) -> torch.Tensor:
    """RMS level of each 20 ms of a clip, (n_frames,)."""
    return rms_level_db(wave[: len(wave) // FRAME_SAMPLES * FRAME_SAMPLES].view(-1, FRAME_SAMPLES)).clamp_min(-120)


def share_above_hz(wave: torch.Tensor, cutoff_hz: float, rate_hz: int) -> float:
    """Share of a clip's energy above a frequency."""
    power = torch.fft.rfft(wave).abs().square()
    return float(power[int(len(power) * cutoff_hz / (rate_hz / 2)) :].sum() / power.sum())


def spread(values: torch.Tensor, digits: int = 2) -> str:
    five, half, most = values.float().quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
    numbers = [values.float().mean().item(), five, half, most, values.min().item(), values.max().item()]
    return " | ".join(f"{number:.{digits}f}" for number in numbers)


def print_whole(clips: Clips) -> None:
    waves = valid_waves(clips)
    rows = {
        "length before padding, s": (clips.n_valid / clips.sample_rate_hz, 2),
        "peak, dB full scale": (torch.stack([peak_level_db(wave) for wave in waves]), 1),
        "RMS, dB full scale": (torch.stack([rms_level_db(wave) for wave in waves]), 1),
        "quietest 20 ms, dB full scale": (torch.stack([frame_levels_db(wave).min() for wave in waves]), 1),
        "mean sample (DC), dB full scale": (db(torch.stack([wave.mean().abs() for wave in waves])), 1),
    }
    print(f"{clips!r}\n\n| | mean | 5 % | median | 95 % | least | most |\n|---|---|---|---|---|---|---|")
    for name, (values, digits) in rows.items():
        print(f"| {name} | {spread(values, digits)} |")
    at_limit = sum(bool((wave.abs() >= 32767 / 32768).any()) for wave in waves)
    cut = int((clips.n_valid == clips.waves.shape[1]).sum())
    distinct = len({wave.numpy().tobytes() for wave in waves})
    print(f"\nAt full scale somewhere: {at_limit} clips. As long as can be, or cut: {cut}. Distinct: {distinct}.")


def print_groups(clips: Clips, title: str, names: tuple[str, ...], labels: torch.Tensor) -> None:
    print(f"\n| {title} | clips | length, s | peak, dB | RMS, dB | quietest 20 ms, dB | energy over 3.4 kHz |")
    print("|---|---|---|---|---|---|---|")
    for i_name, name in enumerate(names):
        group = clips.select(labels == i_name)
        waves = valid_waves(group)
        length_s = float(group.n_valid.float().mean()) / clips.sample_rate_hz
        peak = torch.stack([peak_level_db(wave) for wave in waves]).median()
        rms = torch.stack([rms_level_db(wave) for wave in waves]).median()
        floor = torch.stack([frame_levels_db(wave).min() for wave in waves]).median()
        high = torch.tensor([share_above_hz(wave, 3400, clips.sample_rate_hz) for wave in waves]).median()
        print(f"| {name} | {len(group)} | {length_s:.2f} | {peak:.1f} | {rms:.1f} | {floor:.1f} | {high:.1%} |")


def print_recognised(clips: Clips) -> None:
    from course_lib.judging.recogniser import recognise_digits

    right = recognise_digits(clips.test.waves, clips.sample_rate_hz).cpu() == clips.test.digits
    by_speaker = [
        f"{name} {right[clips.test.speakers == i_name].float().mean():.2f}"
        for i_name, name in enumerate(clips.speaker_names)
    ]
    by_digit = [f"{digit} {right[clips.test.digits == digit].float().mean():.2f}" for digit in range(10)]
    print(f"\nPocketSphinx reads {right.float().mean():.3f} of the {len(right)} test clips: {', '.join(by_speaker)}")
    print(f"By digit: {', '.join(by_digit)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=("fsdd", "bundled"))
    parser.add_argument("--pocketsphinx", action="store_true", help="needs the extra `judge`")
    arguments = parser.parse_args()
    clips = load_clips(arguments.dataset)
    print_whole(clips)
    print_groups(clips, "speaker", clips.speaker_names, clips.speakers)
    print_groups(clips, "digit", clips.digit_names, clips.digits)
    if arguments.pocketsphinx:
        print_recognised(clips)


if __name__ == "__main__":
    main()
