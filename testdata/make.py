#!/usr/bin/env python3
"""Makes the files of this directory again. Needs duckdb (1.5.5 made the ones that are here).

Every value follows from the row's number, so the files never change.
"""

import pathlib

import duckdb

HERE = pathlib.Path(__file__).parent
db = duckdb.connect()
db.execute("SET threads = 1")

# trips/: a year of taxi trips in a hive-partitioned Parquet directory.
db.execute("""
    CREATE TABLE trips AS
    SELECT n AS trip_id,
           TIMESTAMP '2026-01-01 00:00:00' + to_minutes(n * 87) AS pickup,
           1 + (n * 7919) % 12 AS zone_id,
           CAST(1 + (n * 31) % 5 AS INTEGER) AS passengers,
           CAST(250 + (n * 7717) % 4750 AS DECIMAL(9, 2)) / 100 AS fare_raw,
           CASE WHEN n % 17 = 0 THEN NULL ELSE CAST((n * 13) % 900 AS DECIMAL(9, 2)) / 100 END AS tip_raw,
           CASE n % 4 WHEN 0 THEN 'cash' WHEN 3 THEN 'app' ELSE 'card' END AS payment
    FROM range(6000) t(n)
""")
db.execute(f"""
    COPY (SELECT trip_id, pickup, zone_id, passengers, CAST(fare_raw AS DECIMAL(9, 2)) AS fare,
                 CAST(tip_raw AS DECIMAL(9, 2)) AS tip, payment, month(pickup) AS month
          FROM trips ORDER BY trip_id)
    TO '{HERE}/trips' (FORMAT parquet, PARTITION_BY (month), COMPRESSION zstd, OVERWRITE)
""")

# zones/: two CSV files with the same columns in another order.
(HERE / "zones").mkdir(exist_ok=True)
NAMES = ["Airport", "Harbour", "Old Town", "Station", "University", "Museum", "Hill", "Bridge", "Market", "Park", "Stadium", "Beach"]
with open(HERE / "zones" / "north.csv", "w") as out:
    out.write("zone_id,zone,borough,opened\n")
    for n, name in enumerate(NAMES[:6], 1):
        out.write(f'{n},{name},"North, {"inner" if n % 2 else "outer"}",19{60 + n}-0{n}-15\n')
with open(HERE / "zones" / "south.csv", "w") as out:
    out.write("zone,zone_id,opened,borough\n")
    for n, name in enumerate(NAMES[6:], 7):
        out.write(f'{name},{n},19{60 + n}-1{n % 3}-20,{"South" if n != 9 else ""}\n')

# messy/: what real CSV files do.
(HERE / "messy").mkdir(exist_ok=True)
(HERE / "messy" / "quoted_newlines.csv").write_bytes(b'id,note\r\n1,"two\r\nlines"\r\n2,"a ""quote"""\r\n3,\r\n4,""\r\n')
(HERE / "messy" / "bad_rows.csv").write_bytes(b"id,amount,day\n1,10.50,2026-01-01\n2,oops,2026-01-02\n3,7.25\n4,1.00,2026-01-04,extra\n5,2.50,2026-13-01\n6,3.75,2026-01-06\n")
(HERE / "messy" / "semicolons.csv").write_bytes("name;price;n\nbr\u00f6d;1,50;007\nsm\u00f6r;22,00;010\n".encode())
(HERE / "messy" / "latin1.csv").write_bytes("name,city\nJos\u00e9,M\u00fcnchen\n".encode("latin-1"))
(HERE / "messy" / "bom.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
(HERE / "messy" / "no_header.csv").write_bytes(b"1,2.5,2026-01-01\n2,3.5,2026-01-02\n")
(HERE / "messy" / "duplicate_names.csv").write_bytes(b"a,a,,b\n1,2,3,4\n")

# events.ndjson: nested and growing records.
with open(HERE / "events.ndjson", "w") as out:
    for n in range(40):
        extra = f',"tags":["t{n % 3}","u"]' if n % 5 == 0 else ""
        out.write(f'{{"id":{n},"kind":"{["view", "click", "buy"][n % 3]}","user":{{"name":"user{n % 7}","age":{20 + n % 30}}}{extra}}}\n')
