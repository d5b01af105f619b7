"""Parts of networks: what is told (labels), what is left open (codes), convolutions and recurrences made quicker."""
