"""From the inputs of a request to the outputs of a model: one forward at a time per worker."""
