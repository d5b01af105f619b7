"""Samplers: all draw what the plain loop draws, which draws what torch.multinomial does; primes, chunks, choices."""

import math
import os
import subprocess
import sys

import numba
import pytest
import torch
from torch import Tensor

from course_lib.models.mulaw_rnn import FoldedRNN, MuLawRNN
from course_lib.sampling import compiled, graph, samples
from course_lib.sampling.choosing import LEAST_UNIFORM, PART, choose, draw_noise, top_p_filter
from course_lib.sampling.folded import Place, advance_folded, gru_step, start
from course_lib.sampling.graph import STEPS_A_GRAPH, advance_in_parts
from course_lib.sampling.machine_limit import flops_a_sample, machine_matvec_gflops
from course_lib.sampling.samples import (
    N_TOGETHER,
    fastest_sampler,
    sample_compiled,
    sample_cuda_graph,
    sample_folded,
    sample_plain,
    speak,
    stream,
)
from course_lib.sound.features import mu_law_decode

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
on_cpu = pytest.mark.skipif(os.environ.get("COURSE_DEVICE") == "cuda", reason="samplers of the CPU")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_model(n_hidden: int = 10, n_classes: int = 7, frame_length: int = 6, seed: int = 0) -> MuLawRNN:
    """A network with a memory and opinions: at its first weights all classes are about as likely."""
    torch.manual_seed(seed)
    model = MuLawRNN(3, 2, n_classes, 4, n_hidden, 3, frame_length, 1000, clip_s=0.05).eval()
    with torch.no_grad():
        model.to_logits.weight.mul_(6)
        model.gru.weight_hh_l0.mul_(2)
        model.gru.weight_ih_l0.mul_(2)
    return model


@torch.no_grad()
def told(model: MuLawRNN, n_clips: int) -> Tensor:
    """Conditions that differ from clip to clip: (B, L, n_in)."""
    index = torch.arange(n_clips)
    return model.conditions(index % 3, index % 2, 0.03 + 0.01 * index, 100 + 50.0 * index)


def noise_for(model: MuLawRNN, n_steps: int, n_clips: int, seed: int = 1) -> Tensor:
    return draw_noise(n_steps, n_clips, model.config["n_classes"], seeded(seed))


def sample_in_parts(model, conditions, noise, temperature=1.0, top_p=1.0, prime=None):
    """The sampler by CUDA graphs, with a graph that is no graph."""
    folded = model.fold(conditions)

    def record(run):
        run(3)  # what warms up leaves its traces
        return lambda: run(STEPS_A_GRAPH)

    return advance_in_parts(folded, noise, start(folded), temperature, top_p, prime, None, record)[0]


fast = pytest.mark.parametrize("sampler", [sample_folded, sample_compiled, sample_in_parts])
# (B, H, C): fours of clips and what is left over, sums whose length is no multiple of anything
sizes = pytest.mark.parametrize(("n_clips", "n_hidden", "n_classes"), [(1, 3, 2), (3, 10, 7), (9, 37, 21), (18, 64, 5)])
SETTINGS = [(1.0, 1.0), (0.0, 1.0), (0.7, 1.0), (2.5, 0.8), (1.0, 0.3), (0.0, 0.5), (1.0, 1e-6)]


# ---- noise and choice


def test_noise_is_standard_exponential_above_zero_and_a_matter_of_the_seed():
    noise = draw_noise(300, 5, 400, seeded(0))  # more than a part
    assert noise.numel() > PART and noise.shape == (300, 5, 400) and noise.dtype == torch.float32
    assert noise.min() > 0 and noise.isfinite().all()
    assert abs(noise.mean() - 1) < 0.01 and abs(noise.var() - 1) < 0.02
    for x in (0.01, 0.5, 2.0):
        assert abs((noise < x).float().mean() - (1 - math.exp(-x))) < 0.002
    assert torch.equal(noise, draw_noise(300, 5, 400, seeded(0))) and not torch.equal(noise[0], noise[1])
    rng = seeded(0)  # drawn in pieces, it is the same
    assert torch.equal(torch.cat([draw_noise(100, 5, 400, rng), draw_noise(200, 5, 400, rng)]), noise)


def test_a_uniform_draw_of_zero_becomes_no_infinite_noise(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.tensor([0.0, 1 - 2**-24, 0.5]).expand(*shape).clone())
    noise = draw_noise(2, 1, 3, seeded(0))[0, 0]
    assert noise.isfinite().all() and noise.min() > 0 and noise[0] == pytest.approx(-math.log(LEAST_UNIFORM))


def test_choosing_is_what_torch_multinomial_does():
    logits = 3 * torch.randn(500, 11, generator=seeded(0))
    exponentials = torch.empty(500, 11).exponential_(generator=seeded(5))
    drawn = torch.multinomial(logits.softmax(dim=1), 1, generator=seeded(5))[:, 0]
    assert torch.equal(choose(logits, exponentials), drawn)
    cooler = torch.multinomial((logits / 0.6).softmax(dim=1), 1, generator=seeded(5))[:, 0]
    assert torch.equal(choose(logits, exponentials, 0.6), cooler) and not torch.equal(cooler, drawn)


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.85)])
def test_classes_come_as_often_as_they_should(temperature, top_p):
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).expand(200_000, 4)
    drawn = choose(logits, draw_noise(1, 200_000, 4, seeded(0))[0], temperature, top_p)
    p = (logits[0] / temperature).softmax(dim=0)
    if top_p < 1:  # 0.64, 0.24 reach 0.85
        p = p * torch.tensor([0, 1, 1, 0]) / p[1:3].sum()
    assert (torch.bincount(drawn, minlength=4) / 200_000 - p).abs().max() < 0.005


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([[0.1, 0.5, 0.4], [0.25, 0.05, 0.7]]).log()
    kept = {p: top_p_filter(logits, p).isfinite().int().tolist() for p in (0.01, 0.45, 0.6, 0.93, 0.999, 1.0)}
    assert kept[0.01] == [[0, 1, 0], [0, 0, 1]] and kept[0.45] == [[0, 1, 0], [0, 0, 1]]
    assert kept[0.6] == [[0, 1, 1], [0, 0, 1]] and kept[0.93] == [[1, 1, 1], [1, 0, 1]]
    assert kept[0.999] == kept[1.0] == [[1, 1, 1], [1, 1, 1]]
    left = top_p_filter(logits, 0.6)
    assert torch.equal(left[left.isfinite()], logits[left.isfinite()])  # what stays is as it was
    assert top_p_filter(torch.zeros(1, 4), 0.5).isfinite().tolist() == [[True, True, False, False]]  # of equals, first
    assert top_p_filter(torch.zeros(2, 3, 4), 0.5).shape == (2, 3, 4)


# ---- every sampler draws what the plain loop draws


@on_cpu
@fast
@sizes
def test_fast_samplers_equal_the_plain_loop(sampler, n_clips, n_hidden, n_classes):
    model = small_model(n_hidden, n_classes)
    conditions, noise = told(model, n_clips), noise_for(model, 150, n_clips)
    plain = sample_plain(model, conditions, noise)
    assert plain.shape == (n_clips, 150) and plain.dtype == torch.int64 and len(plain.unique()) == n_classes
    found = sampler(model, conditions, noise)
    assert found.dtype == torch.int64 and torch.equal(found, plain)


@on_cpu
@fast
@pytest.mark.parametrize(("temperature", "top_p"), SETTINGS)
def test_so_they_do_at_every_temperature_and_top_p_and_after_a_prime(sampler, temperature, top_p):
    model = small_model(n_hidden=12, n_classes=9)
    conditions, noise = told(model, 5), noise_for(model, 80, 5)
    for n_prime in (0, 1, 17, 80):
        prime = torch.randint(0, 9, (5, n_prime), generator=seeded(n_prime))
        plain = sample_plain(model, conditions, noise, temperature, top_p, prime)
        assert torch.equal(plain[:, :n_prime], prime)
        assert torch.equal(sampler(model, conditions, noise, temperature, top_p, prime), plain)


@on_cpu
def test_at_the_size_that_is_shipped_too():
    torch.manual_seed(0)
    model = MuLawRNN().eval()
    index = torch.arange(5)
    with torch.no_grad():
        model.to_logits.weight.mul_(8)
        conditions = model.conditions(index, index, 0.4 + 0.1 * index, 100 + 20.0 * index)
    noise = draw_noise(300, 5, 256, seeded(0))
    plain = sample_plain(model, conditions, noise)
    for sampler in (sample_folded, sample_compiled, sample_in_parts):
        assert torch.equal(sampler(model, conditions, noise), plain)


@on_cpu
@pytest.mark.parametrize("sampler", [sample_plain, sample_folded, sample_compiled, sample_in_parts])
def test_of_classes_that_are_as_likely_top_p_keeps_the_first(sampler):
    model = small_model(n_classes=8)
    with torch.no_grad():
        model.to_logits.weight.zero_()
        model.to_logits.bias.zero_()
    found = sampler(model, told(model, 3), noise_for(model, 70, 3), 1.0, 0.5)
    assert found.unique().tolist() == [0, 1, 2, 3]


def test_the_plain_loop_leaves_torchs_settings_alone():
    model, before = small_model(), torch.backends.cudnn.allow_tf32
    sample_plain(model, told(model, 1), noise_for(model, 2, 1))
    assert torch.backends.cudnn.allow_tf32 == before and torch.is_grad_enabled()


@torch.no_grad()
def test_the_plain_loop_is_the_model_fed_with_its_own_draws():
    model = small_model()
    conditions, noise = told(model, 4), noise_for(model, 60, 4)
    classes, state, expected = torch.full((4, 1), model.silence), None, []
    for t in range(60):
        logits, state = model(classes, conditions, state, start=t)
        classes = choose(logits[:, 0], noise[t])[:, None]
        expected.append(classes)
    assert torch.equal(sample_plain(model, conditions, noise), torch.cat(expected, dim=1))


@on_cpu
def test_temperature_zero_takes_the_likeliest_class_whatever_the_noise():
    model = small_model()
    conditions = told(model, 3)
    one, other = (sample_plain(model, conditions, noise_for(model, 40, 3, seed), 0.0) for seed in (1, 2))
    with torch.no_grad():
        previous = torch.cat([torch.full((3, 1), model.silence), one[:, :-1]], dim=1)
        assert torch.equal(model(previous, conditions)[0].argmax(dim=2), one)
    assert torch.equal(one, other)
    for sampler in (sample_folded, sample_compiled, sample_in_parts):
        assert torch.equal(sampler(model, conditions, noise_for(model, 40, 3, 3), temperature=0.0), one)


@on_cpu
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_clips_do_not_depend_on_neighbours_or_threads(n_threads):
    model = small_model(n_hidden=37)
    conditions, noise = told(model, 11), noise_for(model, 90, 11)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        together = sample_compiled(model, conditions, noise)
    finally:
        torch.set_num_threads(before)
    alone = [sample_compiled(model, conditions[b : b + 1], noise[:, b : b + 1]) for b in range(11)]
    assert torch.equal(together, torch.cat(alone))
    assert not torch.equal(together[0], together[1])


@on_cpu
@torch.no_grad()
def test_logits_and_states_agree_along_one_history():
    torch.manual_seed(3)
    model = MuLawRNN(n_hidden=100).eval()
    labels = torch.arange(6) % 6
    conditions = model.conditions(labels, labels, 0.3 + 0.1 * labels, 100 + 30.0 * labels)
    classes = torch.randint(0, 256, (6, 400), generator=seeded(0))
    previous = torch.cat([torch.full((6, 1), model.silence), classes[:, :-1]], dim=1)
    expected, state = model(previous, conditions)
    folded, noise = model.fold(conditions), torch.ones(400, 6, 256)

    def in_parts(*arguments):
        return advance_in_parts(*arguments, lambda run: lambda: run(STEPS_A_GRAPH))

    for advance in (advance_folded, compiled.advance_compiled, in_parts):
        logits = torch.zeros(400, 6, 256)
        drawn, place = advance(folded, noise, start(folded), 1.0, 1.0, classes, logits)
        assert torch.equal(drawn, classes) and torch.equal(place.previous, classes[:, -1]) and place.step == 400
        assert (logits.transpose(0, 1) - expected).abs().max() < 1e-5
        assert (place.state - state[0]).abs().max() < 1e-5


@torch.no_grad()
def test_gru_step_is_a_step_of_the_gru():
    torch.manual_seed(0)
    cell, x, state = torch.nn.GRUCell(4, 5), torch.randn(3, 4), torch.randn(3, 5)
    gates_x, products = x @ cell.weight_ih.T + cell.bias_ih, state @ cell.weight_hh.T + cell.bias_hh
    assert torch.allclose(gru_step(gates_x, products, state), cell(x, state), atol=1e-6)


@on_cpu
def test_the_compiled_exponential_is_exact_to_float32():
    import numpy as np
    from numba import njit

    exp = compiled._exp

    @njit
    def over(x):
        y = np.empty_like(x)
        for i in range(len(x)):
            y[i] = exp(x[i])
        return y

    x = np.linspace(-87, 88, 400_001).astype(np.float32)
    assert np.abs(over(x) / np.exp(x.astype(np.float64)) - 1).max() < 4e-7
    outside = over(np.array([-1e30, -200.0, 200.0, 1e30], dtype=np.float32))
    assert np.isfinite(outside).all() and outside[0] < 1e-37 and outside[-1] > 1e38


# ---- chunks


@on_cpu
@pytest.mark.parametrize("sampler", [sample_folded, sample_compiled])
@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_streaming_in_chunks_equals_sampling_at_once(sampler, chunk):
    model = small_model()
    conditions, noise = told(model, 3), noise_for(model, 100, 3)
    parts = list(stream(model, conditions, noise, chunk, 0.8, 0.9, sampler))
    assert [part.shape[1] for part in parts] == [min(chunk, 100 - first) for first in range(0, 100, chunk)]
    assert torch.equal(torch.cat(parts, dim=1), sampler(model, conditions, noise, 0.8, 0.9))


def test_a_place_is_gone_on_from_within_a_graphs_steps():
    model = small_model()
    conditions, noise = told(model, 2), noise_for(model, 200, 2)
    folded, at_once = model.fold(conditions), sample_plain(model, conditions, noise)
    place, parts = start(folded), []
    for part in noise.split([70, 1, 129]):
        classes, place = advance_in_parts(folded, part, place, 1.0, 1.0, None, None, lambda run: lambda: run(64))
        parts.append(classes)
    assert torch.equal(torch.cat(parts, dim=1), at_once) and place.step == 200


@on_cpu
def test_a_stream_has_said_its_beginning_before_its_end_is_drawn():
    model = small_model()
    noise = noise_for(model, 50, 1)
    parts = stream(model, told(model, 1), noise, 10)
    first = next(parts)
    noise[10:] = noise[10:].flip(0)
    assert torch.equal(torch.cat([first, *parts], dim=1), sample_plain(model, told(model, 1), noise))


def test_a_sampler_leaves_where_it_came_from_alone():
    model = small_model()
    folded, noise = model.fold(told(model, 2)), noise_for(model, 20, 2)
    place = Place(torch.rand(2, 10), torch.tensor([1, 4]), 5)
    kept = place.state.clone()
    for advance in (advance_folded, compiled.advance_compiled):
        advance(folded, noise, place, 1.0, 1.0)
        assert torch.equal(place.state, kept) and place.previous.tolist() == [1, 4]


# ---- models folded and not, labels to sound


@on_cpu
@pytest.mark.parametrize("sampler", [sample_folded, sample_compiled])
def test_a_folded_model_holds_its_conditions(sampler):
    model = small_model()
    conditions, noise = told(model, 3), noise_for(model, 30, 3)
    folded = model.fold(conditions)
    assert torch.equal(sampler(folded, None, noise), sampler(model, conditions, noise))
    with pytest.raises(ValueError, match="conditions=None"):
        sampler(folded, conditions, noise)
    with pytest.raises(ValueError, match="need a model with its conditions"):
        sampler(model, None, noise)


def test_conditions_count_and_last_beyond_their_end():
    model = small_model(frame_length=6)
    conditions, noise = told(model, 2), noise_for(model, 60, 2)
    longer = torch.cat([conditions, conditions[:, -1:].expand(-1, 20, -1)], dim=1)
    assert torch.equal(sample_plain(model, conditions, noise), sample_plain(model, longer, noise))
    changed = conditions.clone()
    changed[:, 2:] += 3  # from sample 12 on
    one, other = sample_plain(model, conditions, noise), sample_plain(model, changed, noise)
    assert torch.equal(one[:, :12], other[:, :12]) and not torch.equal(one, other)


@on_cpu
def test_speaking_is_drawing_controls_then_samples_then_silence():
    model = small_model()
    digits, speakers = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 1])
    waves = speak(model, digits, speakers, seeded(0), temperature=1.0)
    rng = seeded(0)
    duration_s, pitch_hz = model.draw_controls(digits, speakers, rng)
    with torch.no_grad():
        conditions = model.conditions(digits, speakers, duration_s, pitch_hz)
    expected = mu_law_decode(sample_plain(model, conditions, draw_noise(50, 3, 7, rng)), 7)
    for wave, whole, length_s in zip(waves, expected, duration_s, strict=True):
        n = math.ceil(float(length_s) * 1000 - 1e-4)
        assert torch.equal(wave[:n], whole[:n]) and not wave[n:].any()
    assert waves.shape == (3, 50) and waves.abs().max() <= 1 and not waves.requires_grad


@on_cpu
def test_frames_that_are_told_are_what_is_said():
    model = small_model()
    digits, speakers = torch.tensor([0, 2]), torch.tensor([1, 0])
    frames = torch.rand(2, 64, 9, generator=seeded(5)) * 20  # 9 frames of 6 samples hold 50
    set_by_hand = {"duration_s": torch.tensor([0.05, 0.04]), "pitch_hz": torch.tensor([90.0, 240.0])}
    waves = speak(model, digits, speakers, seeded(0), temperature=1.0, frames=frames, **set_by_hand)
    rng = seeded(0)
    model.draw_controls(digits, speakers, rng)  # drawn although they are set, so that both ways draw the same noise
    with torch.no_grad():
        conditions = model.conditions(digits, speakers, *set_by_hand.values(), frames=frames)
    expected = mu_law_decode(sample_plain(model, conditions, draw_noise(50, 2, 7, rng)), 7)
    assert torch.equal(waves[0], expected[0]) and torch.equal(waves[1, :40], expected[1, :40])
    assert not torch.equal(waves, speak(model, digits, speakers, seeded(0), temperature=1.0, **set_by_hand))


@on_cpu
def test_what_is_said_can_be_set_and_begun():
    model = small_model()
    digits, speakers = torch.tensor([0, 2]), torch.tensor([1, 0])
    prime = torch.tensor([[6, 6, 0], [5, 0, 6]])
    settings = {"duration_s": torch.tensor([0.02, 0.05]), "pitch_hz": torch.tensor([90.0, 240.0]), "prime": prime}
    waves = speak(model, digits, speakers, seeded(0), **settings)
    assert torch.equal(waves[:, :3], mu_law_decode(prime, 7)) and not waves[0, 20:].any() and waves[1, 20:].any()
    assert torch.equal(waves, speak(model, digits, speakers, seeded(0), **settings, sampler=sample_plain))
    assert torch.equal(waves, speak(model, digits, speakers, seeded(0), **settings))
    assert not torch.equal(waves, speak(model, digits, speakers, seeded(1), **settings))


def test_many_clips_are_drawn_in_groups(monkeypatch):
    model, asked = small_model(), []

    def watch(model, conditions, noise, *rest):
        asked.append(noise.shape[1])
        return sample_folded(model, conditions, noise, *rest)

    n = N_TOGETHER + 3
    prime = torch.arange(n)[:, None] % 7
    waves = speak(model, torch.arange(n) % 3, torch.arange(n) % 2, seeded(0), sampler=watch, prime=prime)
    assert asked == [N_TOGETHER, 3] and waves.shape == (n, 50)
    assert torch.equal(waves[:, :1], mu_law_decode(prime, 7))


# ---- what is refused


@on_cpu
@pytest.mark.parametrize("sampler", [sample_plain, sample_folded, sample_compiled])
def test_wrong_inputs_are_refused(sampler):
    model = small_model()
    conditions, noise = told(model, 3), noise_for(model, 20, 3)
    for wrong in (noise[:, :2], noise[:, :, :6], noise[0], noise[:0]):
        with pytest.raises(ValueError, match=r"noise: got .* need \(T, B, C\).* draw_noise"):
            sampler(model, conditions, wrong)
    for bad in (0.0, -1.0, math.nan):
        spoilt = noise.clone()
        spoilt[3, 1, 2] = bad
        with pytest.raises(ValueError, match="above 0"):
            sampler(model, conditions, spoilt)
    for temperature in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="temperature: got"):
            sampler(model, conditions, noise, temperature)
    for top_p in (0.0, -1.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="top_p: got"):
            sampler(model, conditions, noise, 1.0, top_p)
    for prime in (torch.zeros(2, 4, dtype=torch.int64), torch.zeros(3, 21, dtype=torch.int64), torch.zeros(3, 4)):
        with pytest.raises(ValueError, match="prime: got .*int64 classes"):
            sampler(model, conditions, noise, prime=prime)
    for value in (-1, 7):
        with pytest.raises(ValueError, match=f"prime: got classes {min(value, 0)} to {max(value, 0)}, need 0 to 6"):
            sampler(model, conditions, noise, prime=torch.tensor([[0], [value], [0]]))
    spoilt = small_model()
    with torch.no_grad():
        spoilt.gru.weight_hh_l0[2, 1] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        sampler(spoilt, conditions, noise)


@on_cpu
def test_the_rest_that_is_refused():
    model = small_model()
    conditions, noise = told(model, 3), noise_for(model, 20, 3)
    with pytest.raises(ValueError, match="chunk=0"):
        stream(model, conditions, noise, 0)
    with pytest.raises(ValueError, match="sample_compiled"):
        stream(model, conditions, noise, 5, sampler=sample_plain)
    with pytest.raises(ValueError, match="need the same shape"):
        choose(torch.zeros(2, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match="at least 1"):
        draw_noise(3, 0, 2, seeded(0))
    with pytest.raises(ValueError, match="float32"):
        sample_compiled(model.double(), conditions.double(), noise)
    with pytest.raises(ValueError, match="multiple of 4"):
        machine_matvec_gflops(6, 3)


@on_cpu
def test_without_numba_the_folded_loop_is_taken(monkeypatch):
    model = small_model()
    conditions, noise = told(model, 2), noise_for(model, 10, 2)
    assert fastest_sampler("cpu") is sample_compiled
    monkeypatch.setattr(samples.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "course_lib.sampling.compiled", None)
    assert fastest_sampler("cpu") is sample_folded
    with pytest.raises(RuntimeError, match="needs numba.*sample_folded"):
        sample_compiled(model, conditions, noise)
    assert machine_matvec_gflops(8, 5, seconds=0.001) > 0


def test_importing_the_samplers_does_not_import_numba():
    code = "import sys, course_lib.sampling.samples; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@on_cpu
@pytest.mark.parametrize(("owner", "fails"), [("_CacheLocator", "ensure_cache_path"), ("IndexDataCacheFile", "save")])
def test_a_cache_that_cant_be_written_does_no_harm(monkeypatch, owner, fails):
    from numba.core import caching

    def refuse(*_):
        raise OSError("read-only")

    def plus_one(x):
        return x + 1

    kept = compiled._cached("int64(int64)")(plus_one)
    assert kept(1) == 2 and kept.stats.cache_path is not None
    owners = [each for each in vars(caching).values() if isinstance(each, type) and fails in vars(each)]
    assert getattr(caching, owner) in owners
    for each in owners:
        monkeypatch.setattr(each, fails, refuse)
    with pytest.raises((RuntimeError, OSError), match="cannot cache|read-only"):
        numba.njit("int64(int64)", cache=True)(lambda x: x + 3)
    not_kept = compiled._cached("int64(int64)")(lambda x: x + 2)
    assert not_kept(1) == 3 and not_kept.stats.cache_path is None


# ---- the machine's limit


@on_cpu
def test_the_limit_counts_weights_and_measures_products():
    model = small_model(n_hidden=10, n_classes=7)
    assert flops_a_sample(model.fold(told(model, 2))) == 2 * (30 * 10 + 7 * 10)
    assert isinstance(model.fold(told(model, 2)), FoldedRNN)
    small, usual = machine_matvec_gflops(4, 3, seconds=0.01), machine_matvec_gflops(256, 128, seconds=0.05)
    assert 0 < small < usual < 2000


# ---- on a GPU


@needs_cuda
@pytest.mark.parametrize(("temperature", "top_p"), SETTINGS)
@pytest.mark.parametrize("n_steps", [1, 63, 64, 300])
def test_cuda_graphs_equal_the_plain_loop(temperature, top_p, n_steps):
    model = small_model(n_hidden=12, n_classes=9).cuda()
    conditions, noise = told(model.cpu(), 5).cuda(), noise_for(model, n_steps, 5).cuda()
    prime = torch.randint(0, 9, (5, min(n_steps, 20)), generator=seeded(0)).cuda()
    for begun in (None, prime):
        plain = sample_plain(model.cuda(), conditions, noise, temperature, top_p, begun)
        assert torch.equal(sample_folded(model, conditions, noise, temperature, top_p, begun), plain)
        found = sample_cuda_graph(model, conditions, noise, temperature, top_p, begun)
        assert found.is_cuda and torch.equal(found, plain)
    parts = list(stream(model, conditions, noise, 100, temperature, top_p))
    at_once = sample_cuda_graph(model, conditions, noise, temperature, top_p)
    assert fastest_sampler("cuda") is sample_cuda_graph and torch.equal(torch.cat(parts, dim=1), at_once)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_cuda_graphs_say_so():
    model = small_model()
    with pytest.raises(RuntimeError, match="NVIDIA GPU.*sample_compiled"):
        sample_cuda_graph(model, told(model, 2), noise_for(model, 70, 2))
    assert graph.STEPS_A_GRAPH == STEPS_A_GRAPH


@needs_cuda
def test_samplers_refuse_tensors_of_the_wrong_device():
    model = small_model()
    conditions, noise = told(model, 2), noise_for(model, 70, 2)
    with pytest.raises(ValueError, match="need both on the GPU"):
        sample_cuda_graph(model, conditions, noise)
    with pytest.raises(ValueError, match="float32 on the CPU"):
        sample_compiled(model.cuda(), conditions.cuda(), noise.cuda())
