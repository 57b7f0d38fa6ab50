"""A model's own code, such as its preprocess. Empty here: model_code/<name>/model takes this place in its image."""
