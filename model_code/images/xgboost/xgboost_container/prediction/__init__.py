"""A booster's bytes to numbers: loaded safely, scored fast and exactly as `Booster.predict` would."""
