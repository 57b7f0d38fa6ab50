"""What the bytes of a model file are, by their content: UBJSON and JSON are models, everything else gets told what it is."""

from __future__ import annotations

import struct
from typing import Literal

from ..contract import UserError

ModelFormat = Literal["ubj", "json"]

_CONVERT_PICKLE = (
    'load it once where it was made and save it as data: python -c "import pickle; '
    "pickle.load(open('{name}', 'rb')).save_model('xgboost-model.ubj')\""
)
_CONVERT_BINARY = (
    "convert it once with an XGBoost that still reads it: pip install 'xgboost==2.1.4' && python -c \"import xgboost; "
    "xgboost.Booster(model_file='{name}').save_model('xgboost-model.ubj')\""
)
_CONVERT_OTHER = "save the booster with save_model('xgboost-model.ubj')"

# What pickles, and the compressed pickles of joblib, begin with.
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstandard",
}
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_LEGACY_HEADER = 136  # bytes of the parameters that open XGBoost's binary format, before the objective's name


def format_of(content: bytes, name: str) -> ModelFormat:
    """Which of XGBoost's two data formats these bytes are.

    Nothing is parsed, and nothing is ever unpickled: a pickle runs code when it is loaded.

    Args:
        content: the whole file.
        name: its name, for the message.

    Raises:
        UserError: it is something else; says what, and how to convert it.
    """
    if not content:
        raise UserError(f"{name}: the model file is empty")
    start = content[:512].lstrip(b" \t\r\n")
    if start[:1] == b"{":
        # UBJSON has the length of the first key where JSON has its quotation mark.
        return "json" if start[1:2] in (b'"', b" ", b"\n", b"\r", b"\t", b"}", b"") else "ubj"
    what, remedy = _what_else(content)
    raise UserError(
        f"{name}: is {what}, and only XGBoost's UBJ and JSON are served, which are data. To serve this model, "
        + remedy.format(name=name)
        + "; then put the new file in the place of this one"
    )


def _what_else(content: bytes) -> tuple[str, str]:
    if content[:4] == b"binf" or _is_legacy_binary(content):
        return "a model in XGBoost's old binary format, which XGBoost 3.1 and later cannot read", _CONVERT_BINARY
    if content[:4] == b"bs64":
        return "a model in XGBoost's old base64 format, which XGBoost 3.1 and later cannot read", _CONVERT_BINARY
    if content[:1] == b"\x80" and len(content) > 1 and content[1] in range(2, 6):
        return f"a Python pickle (protocol {content[1]}), which runs code when it is loaded", _CONVERT_PICKLE
    for magic, kind in _COMPRESSED.items():
        if content.startswith(magic):
            return f"a {kind} file, as joblib writes pickles", _CONVERT_PICKLE.replace("pickle", "joblib").replace(
                "joblib.load(open('{name}', 'rb'))", "joblib.load('{name}')"
            )
    if content[:2] in _ZLIB:
        return "a zlib file, as joblib writes pickles", _CONVERT_PICKLE.replace("pickle", "joblib").replace(
            "joblib.load(open('{name}', 'rb'))", "joblib.load('{name}')"
        )
    if content[:1] == b"\x08" and (b"onnx" in content[:4096].lower() or b"ai.onnx" in content[-4096:]):
        return "an ONNX model", _CONVERT_OTHER + " where it was trained"
    if content[:1] in b"c(]}lFIVSXK" and content.rstrip(b"\n")[-1:] == b".":
        return "a Python pickle (protocol 0 or 1), which runs code when it is loaded", _CONVERT_PICKLE
    if content[257:262] == b"ustar":
        return "a tar archive", "put the files that are in it into the folder"
    if content[:2] == b"PK":
        return "a zip archive", "put the files that are in it into the folder"
    if content[:7] == b"booster":
        return "a text dump of an XGBoost model, which cannot be loaded again", _CONVERT_OTHER
    return f"no XGBoost model that we know (it begins with {content[:8]!r})", _CONVERT_OTHER


def _is_legacy_binary(content: bytes) -> bool:
    """The old format has no magic number: behind its parameters stands the objective's name with its length."""
    name = content[_LEGACY_HEADER + 8 : _LEGACY_HEADER + 8 + 64]
    if len(name) < 8:
        return False
    (length,) = struct.unpack_from("<Q", content, _LEGACY_HEADER)
    return 0 < length <= len(name) and name[:length].isascii() and name[:length].replace(b":", b"").isalnum()
