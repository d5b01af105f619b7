"""Deep generative models for sound."""
