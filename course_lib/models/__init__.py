"""The networks, one whole system a file, their parts in `layers/`: pictures, waves, labels or noise go in; classes,
codes, pictures or waves come out. A model knows its shapes and its `config`, not how it is trained. Lessons: each
family's own (a machine that listens, autoencoders, VAEs, GANs on spectrograms and on waveforms, recurrent networks).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "autoencoder": ["ConvAutoencoder", "ConvDecoder", "ConvEncoder", "DenseAutoencoder", "LinearAutoencoder"],
        "classifier": ["DigitClassifier", "vary_mels"],
        "gan": ["ConvDiscriminator", "ConvGenerator", "DenseDiscriminator", "DenseGenerator"],
        "layers.conditioning": ["Labels", "Norm", "Projection", "bound_slopes"],
        "layers.gru_by_hand": ["gru_over_time"],
        "layers.latents": ["LatentGaussians", "balanced_labels"],
        "layers.phases": ["StridedConv1d", "TransposedConv1d"],
        "layers.subspaces": ["pca", "principal_angles_deg"],
        "mel_rnn": ["FrameMixture", "MelRNN", "frames_of_speech"],
        "mulaw_rnn": ["FoldedRNN", "MuLawRNN", "standardise_controls"],
        "principal": ["PrincipalAutoencoder"],
        "rnn": [
            "ElmanRNN", "GatedRNN", "gru_gates", "scale_spectral_radius", "state_jacobian_norms",
            "trainable_without_gradient",
        ],
        "spectrum_gan": ["SpectrumWaveGenerator", "ThreeCritics"],
        "vae": ["ConditionalVAE", "ConvVAE", "DenseVAE", "RecurrentVAE", "reparameterise"],
        "wave_classifier": ["WaveClassifier", "vary_waves"],
        "wavegan": ["PhaseShuffle", "WaveDiscriminator", "WaveGenerator", "phase_shuffle"],
    },
)  # fmt: skip
