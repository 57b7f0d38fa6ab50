"""RecordIO with SageMaker's records, written by the protobuf package with a message made from AWS's documentation."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]


def record_class(*, packed: bool) -> Callable[[], Any]:
    """The message of AWS's documentation, made with nothing of ours."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="record.proto", package="data", syntax="proto2")
    tensors = {"Float32Tensor": kinds.TYPE_FLOAT, "Float64Tensor": kinds.TYPE_DOUBLE, "Int32Tensor": kinds.TYPE_INT32}
    for name, kind in tensors.items():
        tensor = file.message_type.add(name=name)
        for number, (field, of) in enumerate(
            [("values", kind), ("keys", kinds.TYPE_UINT64), ("shape", kinds.TYPE_UINT64)], 1
        ):
            added = tensor.field.add(name=field, number=number, label=kinds.LABEL_REPEATED, type=of)
            added.options.packed = packed
    binary = file.message_type.add(name="Bytes")
    binary.field.add(name="value", number=1, label=kinds.LABEL_REPEATED, type=kinds.TYPE_BYTES)
    binary.field.add(name="content_type", number=2, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    for field, number, name in (
        ("float32_tensor", 2, "Float32Tensor"),
        ("float64_tensor", 3, "Float64Tensor"),
        ("int32_tensor", 7, "Int32Tensor"),
        ("bytes", 9, "Bytes"),
    ):
        value.field.add(
            name=field,
            number=number,
            label=kinds.LABEL_OPTIONAL,
            type=kinds.TYPE_MESSAGE,
            type_name=f".data.{name}",
            oneof_index=0,
        )
    record = file.message_type.add(name="Record")
    for field, number, entry in (("features", 1, "FeaturesEntry"), ("label", 2, "LabelEntry")):
        pair = record.nested_type.add(name=entry)
        pair.options.map_entry = True
        pair.field.add(name="key", number=1, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
        pair.field.add(
            name="value", number=2, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_MESSAGE, type_name=".data.Value"
        )
        record.field.add(
            name=field,
            number=number,
            label=kinds.LABEL_REPEATED,
            type=kinds.TYPE_MESSAGE,
            type_name=f".data.Record.{entry}",
        )
    for field, number in (("uid", 3), ("metadata", 4), ("configuration", 5)):
        record.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made: Callable[[], Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("data.Record"))
    return made


Packed, Unpacked = record_class(packed=True), record_class(packed=False)


def frame(content: bytes, part: int = 0) -> bytes:
    return struct.pack("<II", 0xCED7230A, part << 29 | len(content)) + content + bytes(-len(content) % 4)


def message(
    values: Any,
    *,
    keys: Any = (),
    shape: Any = (),
    label: Any = None,
    uid: str | None = None,
    tensor: str = "float32_tensor",
    record: Callable[[], Any] = Packed,
    name: str = "values",
) -> bytes:
    made = record()
    target = getattr(made.features[name], tensor)
    target.values.extend(values)
    target.keys.extend(keys)
    target.shape.extend(shape)
    target.SetInParent()
    if label is not None:
        made.label["values"].float32_tensor.values.append(label)
    if uid is not None:
        made.uid = uid
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def framed(*messages: bytes) -> bytes:
    return b"".join(map(frame, messages))


def dense_records(labels: Any, rows: Any) -> bytes:
    """A record per row, as SageMaker's SDK writes a matrix."""
    return framed(*(message(row.tolist(), label=float(label)) for label, row in zip(labels, rows, strict=True)))
