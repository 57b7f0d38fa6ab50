"""Recognises unresolved CDK tokens without importing the CDK.

A token stands for a value that only CloudFormation knows. The CDK hides it in an ordinary value: text that contains
`${Token[name.1]}`, a list of the one string `#{Token[name.1]}`, or a number in a range that nobody uses. What is
hidden cannot be checked at synth, so checks of content stop there.
Source: https://docs.aws.amazon.com/cdk/v2/guide/tokens.html
"""

import struct

# The upper 16 bits of every number that is a token: a huge negative double.
_NUMBER_MARK = b"\xfb\xff"


def is_token(value: object) -> bool:
    """Whether the value is, or contains, an unresolved token."""
    if isinstance(value, str):
        return "${Token[" in value or "#{Token[" in value
    if isinstance(value, float):
        return struct.pack(">d", value)[:2] == _NUMBER_MARK
    if isinstance(value, list):
        return len(value) == 1 and isinstance(value[0], str) and value[0].startswith("#{Token[")
    return False


def has_tokens(value: object) -> bool:
    """Whether an unresolved token is anywhere inside."""
    if isinstance(value, dict):
        return any(has_tokens(member) for member in value.values())
    if isinstance(value, list):
        return any(has_tokens(item) for item in value)
    return is_token(value)
