"""Values of a template as a person reads them: references as `${Bucket.Arn}`, long things as indented JSON."""

from __future__ import annotations

import json
from typing import Any

from sagestack.review.render.words import visible

# CloudFormation's intrinsic functions that stand for one text:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html


def readable(value: Any) -> Any:
    """The value with its references and joins written as text; all else stays as it is."""
    if isinstance(value, dict):
        text = _reference(value) if len(value) == 1 else None
        return text if text is not None else {key: readable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [readable(inner) for inner in value]
    return value


def _reference(value: dict[str, Any]) -> str | None:
    match value:
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::GetAtt": str(name)}:
            return f"${{{name}}}"
        case {"Fn::ImportValue": str(name)}:
            return f"${{import {name}}}"
        case {"Fn::Sub": str(text)}:
            return text
        case {"Fn::Join": [str(separator), list(parts)]}:
            texts = [readable(part) for part in parts]
            if all(isinstance(text, str) for text in texts):
                return separator.join(texts)
    return None


def as_text(value: Any) -> str:
    """One value: a text as it is, anything else as JSON, over several lines where one would be too long."""
    value = readable(value)
    if isinstance(value, str):
        # A document in a text (a definition, a policy) reads better as what it is.
        value = _document(value)
    if isinstance(value, str):
        return visible(value)
    short = json.dumps(value, ensure_ascii=False, default=str)
    return visible(short if len(short) <= 60 else json.dumps(value, indent=2, ensure_ascii=False, default=str))


def in_a_line(value: Any) -> str:
    """The same without a line break."""
    value = readable(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return visible(" ".join(text.split()))


def _document(text: str) -> Any:
    if len(text) > 60 and text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
