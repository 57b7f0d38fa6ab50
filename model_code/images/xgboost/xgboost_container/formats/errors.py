"""What is wrong with a text or a file, and where in it."""

from __future__ import annotations


class FormatError(ValueError):
    """Content that cannot be read as numbers. The message begins with the place: `row 3, column 2: ...`, from 1.

    It knows nothing of files and requests: whoever reads a file puts its name before the message, and the server
    makes a 400 of it.
    """
