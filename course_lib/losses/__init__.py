"""What a training makes small: a model's outputs and its targets go in, a scalar or named parts of one come out.
Likelihoods and bounds (the lessons on autoencoders and VAEs), the rules of a GAN's game (GANs), and what networks that
say what comes next are taught with (recurrent networks).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adversarial": [
            "TERMS", "Dither", "Game", "TimeShift", "discriminator_parts", "generator_parts", "gradient_penalty",
            "optimal_discriminator", "r1_penalty", "squared_slopes",
        ],
        "teacher_forcing": ["class_bits", "mel_rnn_parts", "mulaw_rnn_parts", "shifted"],
        "variational": [
            "classification_parts", "elbo", "elbo_parts", "gaussian_kl", "gaussian_nll", "iwae_bound", "kl_per_dim",
            "kl_to_prior", "log_importance_weights", "mixture_log_likelihood", "optimal_sigma", "unsure_divergence",
        ],
    },
)  # fmt: skip
