"""Encoders of arrays, frames, tensors and images, by qualified type name; the libraries are never imported from here.

A table is its schema, index, columns and attributes; how its memory is laid out (blocks, order, strides) is not part of
it. NaNs count as one value whatever their bits, zeros keep their sign.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from blake3 import blake3

from prefect_nb.analysis.encode import Encoder, Fault, Hasher, digest, leaf_list

__all__ = ["ENCODERS", "UNTAGGED"]

_PARALLEL = 4 << 20


def _raw(buffer: Any) -> bytes:
    """The digest of a contiguous buffer."""
    view = memoryview(buffer).cast("B") if memoryview(buffer).nbytes else b""
    threads = blake3.AUTO if len(view) >= _PARALLEL else 1
    return blake3(view, max_threads=threads).digest(20)


def _one_nan(np: Any, a: Any) -> Any:
    """The same floats with one bit pattern for NaN; the array itself when it has none."""
    with np.errstate(all="ignore"):
        total = a.sum()
    if total == total:
        return a
    holes = np.isnan(a)
    if not holes.any():
        return a
    a = a.copy()
    if a.dtype.kind == "c":
        a.real[np.isnan(a.real)] = np.nan
        a.imag[np.isnan(a.imag)] = np.nan
    else:
        a[holes] = np.nan
    return a


def _content(h: Hasher, np: Any, a: Any) -> bytes:
    """The elements in C order."""
    kind = a.dtype.kind
    if a.dtype.names is not None:
        try:
            return b"".join(h.encode(name) + _array(h, a[name]) for name in a.dtype.names)
        except Fault as fault:
            raise fault.at("[field]") from None
    if kind in "OT":
        return _objects(h, a.ravel(order="C"))
    if kind in "fc":
        if a.dtype.itemsize > (8 if kind == "f" else 16):
            return h.items([str(v) for v in a.ravel(order="C")])
        a = _one_nan(np, a)
    if kind in "mM":
        a = a.view("i8")
    return _raw(np.ascontiguousarray(a))


def _objects(h: Hasher, flat: Any) -> bytes:
    """An array of Python objects; strings with holes are the common case and take the short way."""
    values = flat.tolist()
    kinds = set(map(type, values))
    if kinds <= {str, float, type(None)} and str in kinds and len(values) > 64:
        holes = [v for v in values if type(v) is not str]
        if not holes:
            return _strings(values, b"")
        if all(v is None or v != v for v in holes):
            marks = bytes(0 if type(v) is str else 1 if v is None else 2 for v in values)
            return _strings([v if type(v) is str else "" for v in values], marks)
    return b"o" + h.items(values)


def _strings(values: list[str], marks: bytes) -> bytes:
    return b"s" + len(values).to_bytes(8, "little") + digest(marks) + _raw(leaf_list(values, str) if values else b"")


def _array(h: Hasher, a: Any) -> bytes:
    np = sys.modules["numpy"]
    if type(a) is not np.ndarray:
        a = np.asarray(a)
    head = h.encode(_dtype(a.dtype)) + h.encode(a.shape)
    return b"a" + head + digest(_content(h, np, a))


def _dtype(dtype: Any) -> Any:
    if dtype.names is not None:
        fields = dtype.fields
        return tuple((name, _dtype(fields[name][0])) for name in dtype.names)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return (_dtype(base), shape)
    return dtype.str if dtype.kind != "T" else "T"


def _masked(h: Hasher, a: Any) -> bytes:
    np = sys.modules["numpy"]
    mask = np.ma.getmaskarray(a)
    data = a.filled(np.zeros((), a.dtype)[()])
    return b"k" + _array(h, data) + _array(h, mask) + h.encode(a.fill_value)


def _scalar(h: Hasher, value: Any) -> bytes:
    return b"g" + _array(h, sys.modules["numpy"].asarray(value))


def _extension(h: Hasher, a: Any) -> bytes:
    """A pandas array; one that nobody described here is its list of elements."""
    name = type(a).__name__
    head = b"e" + h.encode(name) + h.encode(str(a.dtype))
    if name in ("NumpyExtensionArray", "PandasArray"):
        return _array(h, a.to_numpy())
    if name in ("DatetimeArray", "TimedeltaArray", "PeriodArray"):
        return head + _array(h, a.asi8)
    if name == "Categorical":
        return head + h.encode(a.ordered) + h.encode(a.categories) + _array(h, a.codes)
    if hasattr(a, "_mask") and hasattr(a, "_data"):
        data = a._data.copy()
        data[a._mask] = data.dtype.type(0)
        return head + _array(h, data) + _array(h, a._mask)
    if name == "IntervalArray":
        return head + h.encode(a.left) + h.encode(a.right)
    if name == "SparseArray":
        return head + _array(h, a.to_dense())
    if "String" in name or "Arrow" in name:
        return head + h.encode(getattr(a.dtype, "storage", "")) + _with_holes(h, a)
    return head + h.encode(type(a)) + h.items(list(a))


def _with_holes(h: Hasher, a: Any) -> bytes:
    mask = a.isna()
    values = a.to_numpy(dtype=object, na_value=None) if mask.any() else a.to_numpy(dtype=object)
    if mask.any():
        values = values.copy()
        values[mask] = ""
    listed = values.tolist()
    if set(map(type, listed)) <= {str}:
        return _strings(listed, mask.tobytes())
    return h.items(listed) + _array(h, mask)


def _column(h: Hasher, values: Any) -> bytes:
    return _array(h, values) if type(values).__module__ == "numpy" else _extension(h, values)


def _series(h: Hasher, s: Any) -> bytes:
    values = s.array
    inner = getattr(values, "_ndarray", None)
    plain = type(values).__name__ in ("NumpyExtensionArray", "PandasArray") and inner is not None
    body = _array(h, inner) if plain else _extension(h, values)
    return b"S" + h.encode(s.name) + h.encode(s.index) + h.encode(s.attrs) + body


def _columns(df: Any) -> Iterable[Any]:
    """Each column's values, without making a Series of each where pandas lets us."""
    manager = getattr(df, "_mgr", None)
    blocks = getattr(manager, "blocks", None)
    if blocks is None:
        return [df.iloc[:, i].array for i in range(df.shape[1])]
    out: list[Any] = [None] * df.shape[1]
    for block in blocks:
        values = block.values
        if getattr(values, "ndim", 1) == 1:
            for place in block.mgr_locs:
                out[place] = values
        else:
            for row, place in enumerate(block.mgr_locs):
                out[place] = values[row]
    return out


def _frame(h: Hasher, df: Any) -> bytes:
    parts = [b"F", h.encode(df.columns), h.encode(df.index), h.encode(df.attrs)]
    for place, values in enumerate(_columns(df)):
        try:
            parts.append(digest(_column(h, values)))
        except Fault as fault:
            raise fault.at(f"[{df.columns[place]!r}]") from None
    return b"".join(parts)


def _index(h: Hasher, index: Any) -> bytes:
    return b"i" + h.encode(index.name) + _column(h, h.hold(index.array)) + h.encode(getattr(index, "freqstr", None))


def _range_index(h: Hasher, index: Any) -> bytes:
    return b"r" + h.encode((index.name, index.start, index.stop, index.step))


def _multi_index(h: Hasher, index: Any) -> bytes:
    levels = [h.hold(index.get_level_values(i)) for i in range(index.nlevels)]
    return b"n" + h.encode(list(index.names)) + b"".join(h.encode(level) for level in levels)


def _polars_frame(h: Hasher, df: Any) -> bytes:
    buffer = BytesIO()
    df.rechunk().write_ipc(buffer, compression="uncompressed")
    schema = [(name, str(kind)) for name, kind in df.schema.items()]
    return b"p" + h.encode(schema) + h.encode(df.shape) + _raw(buffer.getvalue())


def _polars_series(h: Hasher, s: Any) -> bytes:
    return b"q" + _polars_frame(h, s.to_frame())


def _arrow_table(h: Hasher, table: Any) -> bytes:
    pa = sys.modules["pyarrow"]
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return b"t" + h.encode(str(table.schema)) + _raw(sink.getvalue())


def _arrow_array(h: Hasher, a: Any) -> bytes:
    pa = sys.modules["pyarrow"]
    return b"w" + _arrow_table(h, pa.table({"": a}))


def _arrow_schema(h: Hasher, schema: Any) -> bytes:
    return b"y" + h.encode(schema.serialize().to_pybytes())


def _tensor(h: Hasher, t: Any) -> bytes:
    head = h.encode((str(t.dtype), tuple(t.shape), t.device.type, bool(t.requires_grad)))
    torch = sys.modules["torch"]
    flat = t.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return b"h" + head + _raw(flat.numpy())


def _image(h: Hasher, image: Any) -> bytes:
    info = {k: v for k, v in image.info.items() if isinstance(v, str | int | float | bytes | tuple)}
    return b"j" + h.encode((image.mode, image.size, image.getpalette())) + h.encode(info) + _raw(image.tobytes())


#: Qualified type name -> encoder.
ENCODERS: dict[str, Encoder] = {
    "numpy.ndarray": _array,
    "numpy.memmap": _array,
    "numpy.ma.MaskedArray": _masked,
    "numpy.ma.core.MaskedArray": _masked,
    "numpy.generic": _scalar,
    "PIL.Image.Image": _image,
    "torch.Tensor": _tensor,
    **dict.fromkeys(("pandas.DataFrame", "pandas.core.frame.DataFrame"), _frame),
    **dict.fromkeys(("pandas.Series", "pandas.core.series.Series"), _series),
    **dict.fromkeys(("pandas.Index", "pandas.core.indexes.base.Index"), _index),
    **dict.fromkeys(
        (f"pandas.{k}Index" for k in ("Datetime", "Timedelta", "Period", "Categorical", "Interval")), _index
    ),
    **dict.fromkeys(("pandas.RangeIndex", "pandas.core.indexes.range.RangeIndex"), _range_index),
    **dict.fromkeys(("pandas.MultiIndex", "pandas.core.indexes.multi.MultiIndex"), _multi_index),
    **dict.fromkeys(("pandas.api.extensions.ExtensionArray", "pandas.core.arrays.base.ExtensionArray"), _extension),
    **dict.fromkeys(("polars.DataFrame", "polars.dataframe.frame.DataFrame"), _polars_frame),
    **dict.fromkeys(("polars.Series", "polars.series.series.Series"), _polars_series),
    **dict.fromkeys(("pyarrow.lib.Table", "pyarrow.Table"), _arrow_table),
    **dict.fromkeys(("pyarrow.lib.ChunkedArray", "pyarrow.lib.Array"), _arrow_array),
    "pyarrow.lib.Schema": _arrow_schema,
}
#: Those whose subclasses are told apart by what the encoder writes, not by their class.
UNTAGGED = frozenset(
    {"numpy.generic", "pandas.api.extensions.ExtensionArray", "pandas.core.arrays.base.ExtensionArray"}
)
