"""The channels below `/opt/ml/input/data`: from their files and pipes to the matrices that XGBoost trains on.

`channels` opens them all. A channel is declared (`declarations`, `files`), read (`streams`, `pipe`, `readers`), kept
(`loading`, `table`, `blocks`, `summary`), checked (`labels`) and handed to XGBoost (`channel`, `matrices`).
"""
