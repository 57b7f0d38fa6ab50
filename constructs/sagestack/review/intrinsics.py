"""CloudFormation's functions in a template's values: what they refer to, and how a person reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_IN_SUB = re.compile(r"\$\{(!?)([^}]+)\}")


def referred(value: Any) -> Iterator[tuple[str, str]]:
    """Everything that a value refers to: `("resource", logical id)` and `("export", name)`; parameters count as resources."""
    if isinstance(value, list):
        for each in value:
            yield from referred(each)
        return
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        if key == "Ref":
            yield "resource", str(inner)
        elif key == "Fn::GetAtt":
            yield "resource", inner[0] if isinstance(inner, list) else str(inner).split(".")[0]
        elif key == "Fn::ImportValue" and isinstance(inner, str):
            yield "export", inner
        elif key == "Fn::Sub":
            text, known = (inner[0], inner[1]) if isinstance(inner, list) else (inner, {})
            for escaped, name in _IN_SUB.findall(text):
                if not escaped and name not in known:
                    yield "resource", name.split(".")[0]
            yield from referred(list(known.values()))
        else:
            yield from referred(inner)


def rendered(value: Any) -> str:
    """A value as one line of text: `arn:${AWS::Partition}:s3:::${Data666C94C7}/housing/*`.

    What is not a string or one of CloudFormation's functions comes as JSON.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        ((key, inner),) = value.items()
        if key == "Ref":
            return f"${{{inner}}}"
        if key == "Fn::GetAtt":
            return "${" + (".".join(map(str, inner)) if isinstance(inner, list) else str(inner)) + "}"
        if key == "Fn::ImportValue":
            return f"${{{rendered(inner)}}}"
        if key == "Fn::Join" and isinstance(inner[1], list):
            return str(inner[0]).join(rendered(each) for each in inner[1])
        if key == "Fn::Sub":
            text, known = (inner[0], inner[1]) if isinstance(inner, list) else (inner, {})
            return _IN_SUB.sub(lambda m: rendered(known[m[2]]) if m[2] in known else m[0], text)
    return json.dumps(value, sort_keys=True)
