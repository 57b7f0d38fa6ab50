"""Golden records: held-out rows with the answers that this version gives, which ask an endpoint whether it serves it.

They travel with the version. Whoever deploys it sends them to the endpoint, and an answer that differs stops the
deployment. The form is in docs/reference/golden-records.md of the project.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import as_json
from ..serving.accept import CSV, negotiate
from ..serving.decode import decode
from ..serving.encode import encode
from ..serving.model import Model

FILE = "golden-records.json"
FORMAT = "sagestack-golden-records-1"
MOST = 20
"""Enough to meet most branches of a model, few enough to be asked in a second."""


def as_file(model: Model, rows: NDArray[np.float32]) -> bytes:
    """The file of some rows; the same rows give the same bytes.

    Each body is a line of CSV as a client sends it, and its answer is what the server makes of that body: read,
    scored and written by the code that serves, so that a number which reads back otherwise would show here.

    Args:
        model: what answers.
        rows: shape (rows, model.schema.num_features).
    """
    records = []
    for row in rows:
        body = as_csv(row)
        if body:  # a line without a single value is no row
            answer = encode(model.predict(decode(CSV, body.encode(), model.schema)), negotiate(CSV))
            records.append({"content_type": CSV, "accept": CSV, "body": body, "answer": answer.decode()})
    return as_json({"format": FORMAT, "records": records})


def chosen(answers: NDArray[Any], *, most: int = MOST) -> NDArray[np.int64]:
    """Which rows to take, by number, in their order: from the lowest answer to the highest in even steps.

    Where a row has several values, by the largest of them and its size: each class is met.

    Args:
        answers: shape (rows,) or (rows, values).
        most: how many rows at most.
    """
    keys = answers.reshape(len(answers), -1)
    order = np.lexsort((keys.max(axis=1), keys.argmax(axis=1)))
    places = np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(np.int64))
    return np.sort(order[places])


def as_csv(row: NDArray[np.float32]) -> str:
    """A row as a client writes it: the shortest text of each number, nothing where a value is missing."""
    cells = ["" if np.isnan(value) else str(value) for value in row.astype(np.float32)]
    return ",".join(cells)
