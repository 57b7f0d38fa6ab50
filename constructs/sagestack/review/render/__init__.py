"""How a review looks: as a page, a comment, a document for programs, alerts of code scanning, and lines in a terminal.

All of them say the same in the same words (`words`) and gather what is alike in several environments (`groups`).
"""
