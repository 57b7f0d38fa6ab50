"""Several hosts train one model.

`hosts` says which there are, `meeting` connects them by a `link` each, `watch` notices when one is lost, `agreement` decides
what they train on together, and `collective` is what training uses of all that: the group.
"""
