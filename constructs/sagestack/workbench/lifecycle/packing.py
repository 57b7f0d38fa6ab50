"""Puts bash that is too big as it is into bash that unpacks it: nothing is fetched, and what is in it can be read."""

from __future__ import annotations

import base64
import functools
import hashlib
import lzma
import textwrap

_BASH = """\
# {what}, packed, since SageMaker takes 16384 characters in base64. To read it, save this script as FILE and run:
#   sed -n '/^-----BEGIN/,/^-----END/p' FILE | sed '1d;$d' | base64 -d | xz -dc
packed=$(mktemp -d) && sed '1d;$d' >"$packed/base64" <<'PACKED'
-----BEGIN PACKED-----
{payload}
-----END PACKED-----
PACKED
base64 -d "$packed/base64" >"$packed/xz"
for program in xz /usr/bin/python3 /home/ec2-user/anaconda3/bin/python3; do
    case $program in
        xz) xz -dc <"$packed/xz" ;;
        *) "$program" -c 'import lzma, sys; sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())' "$packed/xz" ;;
    esac >"$packed/script" 2>/dev/null
    [ "$(sha256sum <"$packed/script")" != '{digest}  -' ] || break
done
if [ "$(sha256sum <"$packed/script")" != '{digest}  -' ]; then
    echo 'This lifecycle config could not be unpacked: is the disk full? None of its steps ran.'
    exit {failure}
fi
# shellcheck source=/dev/null
. "$packed/script"
"""


@functools.cache
def packed(text: str, what: str, *, required: bool) -> str:
    """Bash that unpacks the text, checks it and runs it in this shell. Byte-equal for equal text.

    Args:
        text: bash.
        what: it is, for people who find it.
        required: whether the instance must not start where it cannot be unpacked.
    """
    compressed = lzma.compress(text.encode(), check=lzma.CHECK_NONE, preset=9 | lzma.PRESET_EXTREME)
    return _BASH.format(
        what=what,
        payload="\n".join(textwrap.wrap(base64.b64encode(compressed).decode(), 120)),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        failure=1 if required else 0,
    )
