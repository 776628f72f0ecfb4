"""What computes a model's network other than MXNet as the archive has it, chosen per model."""
