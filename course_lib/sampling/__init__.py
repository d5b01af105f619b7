"""New sound from a trained model: random numbers and labels go in; codes, frames or samples come out, drawn at once
(codes), mel frame by mel frame, or sample by sample, by a plain loop and by faster ones that draw the same. Lessons:
VAEs (codes), a network that remembers (frames), sample by sample (samples).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "choosing": ["choose", "draw_noise", "top_p_filter"],
        "codes": [
            "draw_observation", "draw_prior", "fit_latent_gaussian", "fit_latent_gaussians", "fit_sigma",
            "interpolate_spherical", "interpolate_straight",
        ],
        "frames": ["draw_components", "draw_frames"],
        "machine_limit": ["flops_a_sample", "machine_matvec_gflops"],
        "samples": [
            "fastest_sampler", "sample_compiled", "sample_cuda_graph", "sample_folded", "sample_plain", "speak",
            "stream",
        ],
    },
)  # fmt: skip
