"""Features of many instances: typed identification columns, one float64 matrix, a reason for every missing value."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnsifusion.errors import BadInput
from cnsifusion.imaging.write import atomic_path, check_output

_TYPES = {"str": str, "int": int, "float": float, "bool": bool}


class FeatureTable:
    """One row per instance.

    ``ids``: identification columns by name, each a list of n_rows values of one type (str, int, float or bool), None
    where a row has none. ``names``: feature names in pyradiomics' style. ``values``: float64 (n_rows, n_features), NaN
    where missing; ``reason(row, name)`` says why. ``metadata``: JSON values (settings, engine, version, settings hash).
    """

    def __init__(
        self,
        ids: Mapping[str, Sequence[Any]],
        names: Sequence[str],
        values: np.ndarray,
        reasons: Mapping[tuple[int, str], str],
        metadata: Mapping[str, Any],
    ) -> None:
        self.ids = {name: list(column) for name, column in ids.items()}
        self.names = tuple(names)
        self.values = np.asarray(values, np.float64)
        self.reasons = dict(reasons)
        self.metadata = dict(metadata)
        self._position = {name: n for n, name in enumerate(self.names)}
        lengths = {len(column) for column in self.ids.values()} or {len(self.values)}
        if self.values.shape != (next(iter(lengths)), len(self.names)) or len(lengths) > 1:
            raise ValueError("identification columns, names and values do not fit together")
        if len(self._position) < len(self.names) or set(self.ids) & set(self.names):
            raise ValueError("two columns have the same name")
        self.types = {name: _type_of(name, column) for name, column in self.ids.items()}

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> np.ndarray:
        """Values (n_rows,) of one feature. Raises BadInput when the table lacks it."""
        if name not in self._position:
            raise BadInput(f"The feature table has no feature {name}; extract again with the settings that include it.")
        return self.values[:, self._position[name]]

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Values (n_rows, len(names)) of some features, in the order asked for."""
        return np.stack([self.column(name) for name in names], axis=1) if names else np.empty((len(self), 0))

    def reason(self, row: int, name: str) -> str | None:
        """Why a value is missing, or None where it is not."""
        return self.reasons.get((row, name))

    @classmethod
    def concat(cls, tables: Sequence[FeatureTable]) -> FeatureTable:
        """All rows of ``tables`` in one. Raises BadInput when they come from other settings, engines or features."""
        if not tables:
            raise BadInput("There is no feature table to join.")
        first = tables[0]
        made_as = {(t.names, t.metadata["settings_hash"]) for t in tables}
        if len(made_as) > 1:
            raise BadInput("Feature tables from different settings or engines cannot be joined; extract them again.")
        columns = dict.fromkeys(name for t in tables for name in t.ids)
        ids = {name: [v for t in tables for v in t.ids.get(name, [None] * len(t))] for name in columns}
        starts = np.cumsum([0, *map(len, tables)])
        reasons = {(row + int(at), n): why for at, t in zip(starts, tables) for (row, n), why in t.reasons.items()}
        warnings = list(dict.fromkeys(w for t in tables for w in t.metadata.get("warnings", ())))
        metadata = {**first.metadata, "warnings": warnings}
        return cls(ids, first.names, np.concatenate([t.values for t in tables]), reasons, metadata)

    @staticmethod
    def check_file(path: str | Path) -> None:
        """Refuse before any work a ``path`` that ``write`` could not write. Raises BadInput."""
        if Path(path).suffix.lower() not in (".csv", ".parquet"):
            _unknown_format(path)
        check_output(Path(path).parent)

    def write(self, path: str | Path) -> None:
        """Write as ``.csv`` or ``.parquet`` by the name's ending. Raises BadInput for another ending."""
        {".csv": self.write_csv, ".parquet": self.write_parquet}.get(Path(path).suffix.lower(), _unknown_format)(path)

    @classmethod
    def read(cls, path: str | Path) -> FeatureTable:
        """Read what ``write`` wrote. Raises BadInput for a missing or damaged file."""
        readers = {".csv": cls.read_csv, ".parquet": cls.read_parquet}
        return readers.get(Path(path).suffix.lower(), _unknown_format)(path)

    def write_csv(self, path: str | Path) -> None:
        """Write a plain CSV file (identification, engine, features; an empty cell is missing) and, beside it,
        ``<path>.json`` with the metadata, the column types and the reasons. Values keep all their digits.

        Both are written before either takes its place: a full disk leaves no half of a pair, nor an old half.
        """
        path = Path(path)
        engine = [self.metadata.get(key, "") for key in _ENGINE_COLUMNS]
        sidecar = {"metadata": self.metadata, "types": self.types, "reasons": group_reasons(self.reasons)}
        with atomic_path(path) as table, atomic_path(path.with_name(path.name + ".json")) as beside:
            beside.write_text(json.dumps(sidecar, indent=1), "utf-8")
            with table.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow([*self.ids, *_ENGINE_COLUMNS, *self.names])
                for row, values in enumerate(self.values.tolist()):
                    cells = ["" if c[row] is None else c[row] for c in self.ids.values()]
                    writer.writerow([*cells, *engine, *("" if v != v else repr(v) for v in values)])

    @classmethod
    def read_csv(cls, path: str | Path) -> FeatureTable:
        """Read what ``write_csv`` wrote. Raises BadInput when the file or its ``.json`` is missing or damaged."""
        path = Path(path)
        try:
            sidecar = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
            with path.open(encoding="utf-8", newline="") as stream:
                header, *lines = list(csv.reader(stream))
            types = sidecar["types"]
            first = len(types) + len(_ENGINE_COLUMNS)
            ids = {n: [_cell(line[c], types[n]) for line in lines] for c, n in enumerate(header[: len(types)])}
            values = np.array([[float(v) if v else np.nan for v in line[first:]] for line in lines], np.float64)
            values = values.reshape(len(lines), len(header) - first)
            return cls(ids, header[first:], values, ungroup_reasons(sidecar["reasons"]), sidecar["metadata"])
        except OSError as error:
            raise BadInput(f"The feature table {path.name} or its .json is missing; keep both together.") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise BadInput(f"The feature table {path.name} is damaged or edited; extract again.") from error

    def write_parquet(self, path: str | Path) -> None:
        """Write one Parquet file; metadata and reasons are in its schema. Raises BadInput when pyarrow is absent."""
        pa, pq = _pyarrow()
        arrow = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
        arrays = [pa.array(c, arrow[self.types[n]]) for n, c in self.ids.items()]
        arrays += [pa.array(np.ascontiguousarray(column), pa.float64()) for column in self.values.T]
        content = {"metadata": self.metadata, "types": self.types, "reasons": group_reasons(self.reasons)}
        table = pa.table(arrays, names=[*self.ids, *self.names])
        table = table.replace_schema_metadata({b"cnsifusion": json.dumps(content).encode()})
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def read_parquet(cls, path: str | Path) -> FeatureTable:
        """Read a table written by ``write_parquet``. Raises BadInput for a foreign or damaged file."""
        pa, pq = _pyarrow()
        try:
            table = pq.read_table(Path(path))
            content = json.loads(table.schema.metadata[b"cnsifusion"])
            ids = {name: table.column(name).to_pylist() for name in content["types"]}
            names = [n for n in table.column_names if n not in ids]
            values = np.array([table.column(n).to_numpy() for n in names], np.float64).reshape(len(names), len(table)).T
            return cls(ids, names, values, ungroup_reasons(content["reasons"]), content["metadata"])
        except OSError as error:
            raise BadInput(f"The feature table {Path(path).name} is missing or cannot be read.") from error
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{Path(path).name} is no feature table of this software, or it is damaged.") from error


_ENGINE_COLUMNS = ("engine", "engine_version", "settings_hash")


def _type_of(name: str, column: Sequence[Any]) -> str:
    kinds = {type(v) for v in column if v is not None}
    kinds = {float} if kinds == {int, float} else kinds
    if len(kinds) > 1 or (kinds and next(iter(kinds)) not in _TYPES.values()):
        raise BadInput(f"The identification column {name} mixes types; use text, whole numbers, numbers or true/false.")
    return next(iter(kinds)).__name__ if kinds else "str"


def _cell(text: str, kind: str) -> Any:
    if text == "":
        return None
    return text == "True" if kind == "bool" else _TYPES[kind](text)


def group_reasons(reasons: Mapping[tuple[int, str], str]) -> list[list[Any]]:
    """Reasons as [row, reason, feature names]: one entry for the hundred features that miss for one cause."""
    grouped: dict[tuple[int, str], list[str]] = {}
    for (row, name), why in reasons.items():
        grouped.setdefault((row, why), []).append(name)
    return [[row, why, names] for (row, why), names in grouped.items()]


def ungroup_reasons(grouped: list[list[Any]]) -> dict[tuple[int, str], str]:
    """What ``group_reasons`` was given."""
    return {(row, name): why for row, why, names in grouped for name in names}


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BadInput("Parquet needs pyarrow: install cnsifusion[train], or write a .csv file.") from error
    return pa, pq


def _unknown_format(path: str | Path) -> Any:
    raise BadInput(f"A feature table is a .csv or .parquet file, not {Path(path).name}.")
