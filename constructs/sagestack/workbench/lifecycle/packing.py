"""Puts a script that is too big as it is into one that unpacks it: nothing is fetched, and what is in it can be read."""

from __future__ import annotations

import base64
import hashlib
import lzma
import textwrap


def packed(text: str, *, required: bool) -> str:
    """Bash that unpacks the text, checks it and runs it in this shell. Byte-equal for equal text.

    Args:
        text: bash.
        required: whether the instance must not start where it cannot be unpacked.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()
    payload = "\n".join(textwrap.wrap(base64.b64encode(_compressed(text)).decode(), 120))
    failure = 1 if required else 0
    return f"""\
# Packed, since SageMaker takes 16384 characters of base64. To read it, save this script as FILE and run:
#   sed -n '/^-----BEGIN/,/^-----END/p' FILE | sed '1d;$d' | base64 -d | xz -dc
packed=$(mktemp -d) && sed '1d;$d' >"$packed/base64" <<'PACKED'
-----BEGIN STEPS-----
{payload}
-----END STEPS-----
PACKED
unpack='import lzma, sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))'
base64 -d "$packed/base64" >"$packed/xz"
for unpacker in 'xz -dc' "python3 -c \\"$unpack\\"" "/home/ec2-user/anaconda3/bin/python3 -c \\"$unpack\\""; do
    eval "$unpacker" <"$packed/xz" >"$packed/script" 2>/dev/null
    [ "$(sha256sum <"$packed/script")" != '{digest}  -' ] || break
done
if [ "$(sha256sum <"$packed/script")" != '{digest}  -' ]; then
    echo 'The steps of this lifecycle config could not be unpacked: is the disk full? None of them ran.'
    exit {failure}
fi
# shellcheck source=/dev/null
. "$packed/script"
"""


def _compressed(text: str) -> bytes:
    return lzma.compress(text.encode(), check=lzma.CHECK_NONE, preset=9 | lzma.PRESET_EXTREME)
