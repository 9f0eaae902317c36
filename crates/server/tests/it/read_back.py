"""Reads Delta tables without any code of Headwaters: the log as JSON, the Parquet files with Polars.

read_back.py count TABLE                     the number of rows
read_back.py rows TABLE                      the rows as JSON, under source names
read_back.py files TABLE                     the number of files of the newest version
read_back.py delta TABLE                     the rows as JSON, under the names of the lake, by Polars' own Delta reader
read_back.py compare LAKE JSONL EXPECTED…    compares every table of the expected files with LAKE/<table>; a table of a
                                             later file replaces that of an earlier one; JSONL holds lines
                                             {"table", "diagnostics"} as `headwaters copy` reported them
"""

import datetime
import decimal
import json
import math
import pathlib
import re
import struct
import sys
import urllib.parse

import polars

LONG_EXACT_MAX = 2**53
TEXT_CHARS_MAX = 300
BYTES_MAX = 64
EXACT = (decimal.Decimal, datetime.date, datetime.datetime)


def log(table):
    """The schema and the live files of the newest version."""
    files, schema = {}, None
    for commit in sorted((table / "_delta_log").glob("*.json")):
        for line in commit.read_text(encoding="utf-8").splitlines():
            action = json.loads(line)
            if "metaData" in action:
                schema = json.loads(action["metaData"]["schemaString"])
            if "add" in action:
                files[action["add"]["path"]] = action["add"]
            if "remove" in action:
                files.pop(action["remove"]["path"], None)
    if schema is None:
        raise SystemExit(f"{table} is no Delta table")
    return schema, [table / urllib.parse.unquote(path) for path in files]


def source_name(field):
    return field.get("metadata", {}).get("headwaters.sourceName", field["name"])


def delta_type(kind):
    if isinstance(kind, dict) and kind.get("type") == "array":
        return f"array<{kind['elementType']}>"
    return kind


def read(table):
    schema, files = log(table)
    frames = [polars.read_parquet(file, glob=False) for file in files]
    return schema["fields"], (polars.concat(frames, how="diagonal_relaxed") if frames else None)


def value(cell, kind, precision):
    """A cell in the form of the expected files (fixtures/README.md)."""
    if cell is None:
        return None
    if kind in ("byte", "short", "integer"):
        return cell
    if kind == "long":
        return cell if -LONG_EXACT_MAX < cell < LONG_EXACT_MAX else str(cell)
    if kind == "boolean":
        return cell
    if kind.startswith("decimal"):
        return format(cell, "f")
    if kind in ("float", "double"):
        return 0.0 if cell == 0 else cell
    if kind == "date":
        return cell.isoformat()
    if kind == "timestamp":
        return (cell.replace(tzinfo=None), precision)
    if kind == "binary":
        if len(cell) <= BYTES_MAX:
            return {"hex": cell.hex()}
        return {"len": len(cell), "first": cell[:8].hex(), "last": cell[-8:].hex()}
    if kind == "string":
        if len(cell) <= TEXT_CHARS_MAX:
            return cell
        return {"chars": len(cell), "bytes": len(cell.encode()), "first": cell[:4], "last": cell[-4:]}
    if kind.startswith("array"):
        return list(cell)
    raise SystemExit(f"unknown type {kind}")


def plain(cell):
    if isinstance(cell, tuple):
        moment, _ = cell
        return moment.isoformat() + "Z"
    return cell


def rows_of(table):
    fields, frame = read(table)
    if frame is None:
        return fields, []
    kinds = {field["name"]: (source_name(field), delta_type(field["type"])) for field in fields}
    rows = []
    for row in frame.iter_rows(named=True):
        rows.append({kinds[name][0]: value(cell, kinds[name][1], None) for name, cell in row.items()})
    return fields, rows


def same_float(expected, found, kind):
    if found is None or expected is None:
        return found is expected
    if kind == "float":
        expected = struct.unpack("f", struct.pack("f", expected))[0]
    return float(expected) == float(found) or (math.isnan(expected) and math.isnan(found))


def same(expected, found, kind, is_json):
    if isinstance(found, tuple):
        moment = found[0]
        if expected is None:
            return False
        seconds, _, fraction = expected.rstrip("Z").partition(".")
        wanted = datetime.datetime.fromisoformat(seconds)
        wanted = wanted.replace(microsecond=int(fraction.ljust(6, "0")) if fraction else 0)
        return wanted == moment
    if kind in ("float", "double"):
        return same_float(expected, found, kind)
    if is_json and isinstance(expected, str) and isinstance(found, str):
        if expected == found:
            return True
        parse = lambda text: json.loads(text, parse_float=decimal.Decimal, parse_int=int)
        return parse(expected) == parse(found)
    if kind.startswith("array") and expected is not None and found is not None:
        return len(expected) == len(found) and all(same_float(a, b, "float") for a, b in zip(expected, found))
    return expected == found


def comparable(cell):
    """A key's value as text that is the same for both sides, whatever number of fraction digits is written."""
    text = str(plain(cell))
    if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", text) and "." in text:
        text = text.rstrip("Z").rstrip("0").rstrip(".") + "Z"
    return text


def compare_table(header, expected, found_fields, found, reported):
    differences = []
    types = {source_name(field): delta_type(field["type"]) for field in found_fields}
    if types != header["types"]:
        wanted = header["types"]
        changed = {name: [wanted.get(name), types.get(name)] for name in {*wanted, *types} if wanted.get(name) != types.get(name)}
        differences.append(f"types: {changed}")
    if len(found) != len(expected):
        differences.append(f"{len(found)} rows instead of {len(expected)}")
    key = header.get("key") or sorted(header["types"])
    def place(row):
        return json.dumps([comparable(row.get(name)) for name in key])
    wanted_rows = sorted((line["row"] for line in expected), key=place)
    found_rows = sorted(found, key=place)
    for wanted, row in zip(wanted_rows, found_rows):
        for name, cell in wanted.items():
            if not same(cell, row.get(name), header["types"].get(name, "string"), name in header.get("json", [])):
                differences.append(f"{place(wanted)} {name}: {plain(row.get(name))!r} instead of {cell!r}")
    wanted = {}
    for line in expected:
        for diagnostic in line.get("diagnostics", []):
            entry = wanted.setdefault((diagnostic["column"], diagnostic["reason"]), [])
            entry.append(diagnostic.get("raw"))
    got = {(entry["column"], entry["reason"]): entry for entry in reported}
    for place_of, raws in wanted.items():
        entry = got.pop(place_of, None)
        if entry is None or entry["count"] != len(raws):
            differences.append(f"diagnostic {place_of}: {entry and entry['count']} instead of {len(raws)}")
            continue
        sampled = [sample["raw"] for sample in entry["samples"]]
        if len(raws) <= 10 and None not in raws and sorted(sampled) != sorted(raws):
            differences.append(f"diagnostic {place_of}: samples {sampled} instead of {raws}")
    differences.extend(f"diagnostic {place_of} was not expected" for place_of in got)
    return differences


def compare(lake, reported_file, expected_files):
    headers, rows = {}, {}
    for file in expected_files:
        for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "types" in entry:
                headers[entry["table"]] = entry
                rows[entry["table"]] = []
            else:
                rows[entry["table"]].append(entry)
    reported = {}
    for line in pathlib.Path(reported_file).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        reported[entry["table"]] = entry["diagnostics"]
    result = {}
    for table, header in headers.items():
        folder = pathlib.Path(lake) / urllib.parse.quote(table, safe="")
        if not folder.is_dir():
            result[table] = ["not landed"]
            continue
        fields, found = rows_of(folder)
        result[table] = compare_table(header, rows[table], fields, found, reported.get(table, []))
    return result


def main():
    what, *arguments = sys.argv[1:]
    if what == "count":
        _, frame = read(pathlib.Path(arguments[0]))
        answer = 0 if frame is None else frame.height
    elif what == "rows":
        _, rows = rows_of(pathlib.Path(arguments[0]))
        answer = [{name: plain(cell) for name, cell in row.items()} for row in rows]
    elif what == "files":
        answer = len(log(pathlib.Path(arguments[0]))[1])
    elif what == "delta":
        frame = polars.read_delta(arguments[0])
        answer = [{name: str(cell) if isinstance(cell, EXACT) else cell for name, cell in row.items()} for row in frame.iter_rows(named=True)]
    elif what == "compare":
        answer = compare(arguments[0], arguments[1], arguments[2:])
    else:
        raise SystemExit(__doc__)
    json.dump(answer, sys.stdout, ensure_ascii=False)


main()
