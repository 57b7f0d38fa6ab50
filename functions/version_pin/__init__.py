"""Takes an approval in the model registry to git."""
