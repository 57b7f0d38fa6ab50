"""The columns of the housing data and their order: the one place that knows them.

The split files have no header (SageMaker's convention for CSV), so this order is what binds
preprocess, train and evaluate together. The model carries its own copy of the names.
"""

TARGET = "MEDV"
FEATURES = ("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "LSTAT")
TARGET_FIRST = (TARGET, *FEATURES)

# Known columns that must not reach the model, and why.
REFUSED = {"B": "it encodes race, which this model must not see: remove the column (data/README.md says more)"}
