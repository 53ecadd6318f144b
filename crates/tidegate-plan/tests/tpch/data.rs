//! Small tables of TPC-H, the same in every run, and its queries.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::parquet::arrow::ArrowWriter;

/// The directories of the tables.
pub(crate) const TABLES: [&str; 8] = [
    "region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem",
];

/// Writes all tables below a directory.
pub(crate) fn write_tables(dir: &Path) {
    let random = &mut Random(7);
    write_small_tables(dir, random);
    write_parts(dir, random);
    write_orders(dir, random);
}

/// The 22 queries and their numbers.
pub(crate) fn queries() -> Vec<(usize, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/tpch");
    (1..=22)
        .map(|number| {
            (
                number,
                fs::read_to_string(dir.join(format!("q{number:02}.sql"))).unwrap(),
            )
        })
        .collect()
}

/// SplitMix64, so that the tables are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
const NATIONS: [(&str, i64); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];
const SUPPLIERS: usize = 50;
const CUSTOMERS: usize = 200;
const PARTS: usize = 300;
const ORDERS: usize = 2000;
/// 1992-01-01, as days since 1970.
const FIRST_DAY: i32 = 8035;

fn keys(values: impl IntoIterator<Item = usize>) -> ArrayRef {
    Arc::new(
        values
            .into_iter()
            .map(|value| Some(value as i64))
            .collect::<Int64Array>(),
    )
}

fn ints(values: impl IntoIterator<Item = usize>) -> ArrayRef {
    Arc::new(
        values
            .into_iter()
            .map(|value| Some(value as i32))
            .collect::<Int32Array>(),
    )
}

fn texts<T: Into<String>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(
        values
            .into_iter()
            .map(|value| Some(value.into()))
            .collect::<StringArray>(),
    )
}

fn money(hundredths: impl IntoIterator<Item = i128>) -> ArrayRef {
    let array: Decimal128Array = hundredths.into_iter().map(Some).collect();
    Arc::new(array.with_precision_and_scale(15, 2).unwrap())
}

fn days(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<Date32Array>())
}

fn write(dir: &Path, table: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    fs::create_dir_all(dir.join(table)).unwrap();
    // Two files each, so that scans have groups and plans have partitions.
    let half = batch.num_rows().div_ceil(2);
    for (number, part) in [
        batch.slice(0, half),
        batch.slice(half, batch.num_rows() - half),
    ]
    .iter()
    .enumerate()
    {
        let file = File::create(dir.join(table).join(format!("{number}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, part.schema(), None).unwrap();
        writer.write(part).unwrap();
        writer.close().unwrap();
    }
}

fn write_small_tables(dir: &Path, random: &mut Random) {
    write(
        dir,
        "region",
        vec![
            ("r_regionkey", keys(0..5)),
            ("r_name", texts(REGIONS)),
            ("r_comment", texts(REGIONS)),
        ],
    );
    write(
        dir,
        "nation",
        vec![
            ("n_nationkey", keys(0..25)),
            ("n_name", texts(NATIONS.map(|nation| nation.0))),
            ("n_regionkey", keys(NATIONS.map(|nation| nation.1 as usize))),
            ("n_comment", texts(NATIONS.map(|nation| nation.0))),
        ],
    );
    write(
        dir,
        "supplier",
        vec![
            ("s_suppkey", keys(1..=SUPPLIERS)),
            (
                "s_name",
                texts((1..=SUPPLIERS).map(|key| format!("Supplier#{key:09}"))),
            ),
            (
                "s_address",
                texts((1..=SUPPLIERS).map(|key| format!("Street {key}"))),
            ),
            ("s_nationkey", keys((0..SUPPLIERS).map(|key| key % 25))),
            (
                "s_phone",
                texts((0..SUPPLIERS).map(|key| format!("{}-555-{key:04}", 10 + key % 25))),
            ),
            (
                "s_acctbal",
                money((0..SUPPLIERS).map(|_| random.below(1_000_000) as i128 - 100_000)),
            ),
            (
                "s_comment",
                texts((0..SUPPLIERS).map(|key| {
                    if key % 10 == 3 {
                        "the Customer has Complaints"
                    } else {
                        "quiet"
                    }
                })),
            ),
        ],
    );
    write(
        dir,
        "customer",
        vec![
            ("c_custkey", keys(1..=CUSTOMERS)),
            (
                "c_name",
                texts((1..=CUSTOMERS).map(|key| format!("Customer#{key:09}"))),
            ),
            (
                "c_address",
                texts((1..=CUSTOMERS).map(|key| format!("Road {key}"))),
            ),
            ("c_nationkey", keys((0..CUSTOMERS).map(|key| key % 25))),
            (
                "c_phone",
                texts((0..CUSTOMERS).map(|key| format!("{}-555-{key:04}", 10 + key % 25))),
            ),
            (
                "c_acctbal",
                money((0..CUSTOMERS).map(|_| random.below(1_000_000) as i128 - 100_000)),
            ),
            (
                "c_mktsegment",
                texts((0..CUSTOMERS).map(|key| {
                    if key % 3 == 0 {
                        "BUILDING"
                    } else {
                        "MACHINERY"
                    }
                })),
            ),
            (
                "c_comment",
                texts((0..CUSTOMERS).map(|key| format!("comment {key}"))),
            ),
        ],
    );
}

fn write_parts(dir: &Path, random: &mut Random) {
    let names = [
        "forest green",
        "green lace",
        "blue sky",
        "forest moss",
        "red rose",
    ];
    let types = [
        "ECONOMY ANODIZED STEEL",
        "PROMO BURNISHED BRASS",
        "MEDIUM POLISHED TIN",
        "STANDARD PLATED BRASS",
    ];
    let containers = ["SM CASE", "MED BOX", "MED BAG", "LG CASE", "LG PKG"];
    write(
        dir,
        "part",
        vec![
            ("p_partkey", keys(1..=PARTS)),
            ("p_name", texts((0..PARTS).map(|_| random.pick(&names)))),
            (
                "p_mfgr",
                texts((0..PARTS).map(|key| format!("Manufacturer#{}", key % 5))),
            ),
            (
                "p_brand",
                texts(
                    (0..PARTS)
                        .map(|_| random.pick(&["Brand#12", "Brand#23", "Brand#34", "Brand#45"])),
                ),
            ),
            ("p_type", texts((0..PARTS).map(|_| random.pick(&types)))),
            (
                "p_size",
                ints((0..PARTS).map(|_| [3, 5, 9, 14, 15, 49][random.below(6)])),
            ),
            (
                "p_container",
                texts((0..PARTS).map(|_| random.pick(&containers))),
            ),
            (
                "p_retailprice",
                money((0..PARTS).map(|key| 90_000 + key as i128)),
            ),
            (
                "p_comment",
                texts((0..PARTS).map(|key| format!("comment {key}"))),
            ),
        ],
    );
    let rows = PARTS * 4;
    write(
        dir,
        "partsupp",
        vec![
            ("ps_partkey", keys((0..rows).map(|row| row / 4 + 1))),
            (
                "ps_suppkey",
                keys((0..rows).map(|row| supplier_of(row / 4 + 1, row % 4))),
            ),
            (
                "ps_availqty",
                ints((0..rows).map(|_| 1 + random.below(9999))),
            ),
            (
                "ps_supplycost",
                money((0..rows).map(|_| 100 + random.below(99_900) as i128)),
            ),
            (
                "ps_comment",
                texts((0..rows).map(|row| format!("comment {row}"))),
            ),
        ],
    );
}

/// One of the four suppliers of a part.
fn supplier_of(part: usize, which: usize) -> usize {
    (part + which * 13) % SUPPLIERS + 1
}

#[derive(Default)]
struct Lines {
    order: Vec<usize>,
    part: Vec<usize>,
    supplier: Vec<usize>,
    number: Vec<usize>,
    shipped: Vec<i32>,
}

fn write_orders(dir: &Path, random: &mut Random) {
    let dates: Vec<i32> = (0..ORDERS)
        .map(|_| FIRST_DAY + random.below(2400) as i32)
        .collect();
    let mut lines = Lines::default();
    for (order, date) in dates.iter().enumerate() {
        for number in 0..1 + random.below(7) {
            let part = 1 + random.below(PARTS);
            lines.order.push(order + 1);
            lines.part.push(part);
            lines.supplier.push(supplier_of(part, random.below(4)));
            lines.number.push(number + 1);
            lines.shipped.push(date + 1 + random.below(120) as i32);
        }
    }
    let comments = ["some special few requests", "nothing to say"];
    let priorities = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
    write(
        dir,
        "orders",
        vec![
            ("o_orderkey", keys(1..=ORDERS)),
            // A third of the customers never order.
            (
                "o_custkey",
                keys((0..ORDERS).map(|_| 1 + random.below(CUSTOMERS * 2 / 3))),
            ),
            (
                "o_orderstatus",
                texts((0..ORDERS).map(|_| random.pick(&["F", "O", "P"]))),
            ),
            (
                "o_totalprice",
                money((0..ORDERS).map(|_| random.below(50_000_000) as i128)),
            ),
            ("o_orderdate", days(dates)),
            (
                "o_orderpriority",
                texts((0..ORDERS).map(|_| random.pick(&priorities))),
            ),
            (
                "o_clerk",
                texts((0..ORDERS).map(|order| format!("Clerk#{}", order % 9))),
            ),
            ("o_shippriority", ints((0..ORDERS).map(|_| 0))),
            (
                "o_comment",
                texts((0..ORDERS).map(|_| random.pick(&comments))),
            ),
        ],
    );
    write_lines(dir, random, lines);
}

fn write_lines(dir: &Path, random: &mut Random, lines: Lines) {
    let rows = lines.order.len();
    let modes = ["AIR", "AIR REG", "MAIL", "SHIP", "TRUCK"];
    let near = |random: &mut Random| -> Vec<i32> {
        lines
            .shipped
            .iter()
            .map(|day| day - 20 + random.below(60) as i32)
            .collect()
    };
    let (committed, received) = (near(random), near(random));
    let shipped = lines.shipped;
    write(
        dir,
        "lineitem",
        vec![
            ("l_orderkey", keys(lines.order)),
            ("l_partkey", keys(lines.part)),
            ("l_suppkey", keys(lines.supplier)),
            ("l_linenumber", ints(lines.number)),
            (
                "l_quantity",
                money((0..rows).map(|_| 100 * (1 + random.below(60) as i128))),
            ),
            (
                "l_extendedprice",
                money((0..rows).map(|_| 90_000 + random.below(9_000_000) as i128)),
            ),
            (
                "l_discount",
                money((0..rows).map(|_| random.below(11) as i128)),
            ),
            ("l_tax", money((0..rows).map(|_| random.below(9) as i128))),
            (
                "l_returnflag",
                texts((0..rows).map(|_| random.pick(&["A", "N", "R"]))),
            ),
            (
                "l_linestatus",
                texts((0..rows).map(|_| random.pick(&["F", "O"]))),
            ),
            ("l_shipdate", days(shipped)),
            ("l_commitdate", days(committed)),
            ("l_receiptdate", days(received)),
            (
                "l_shipinstruct",
                texts((0..rows).map(|_| random.pick(&["DELIVER IN PERSON", "NONE"]))),
            ),
            ("l_shipmode", texts((0..rows).map(|_| random.pick(&modes)))),
            (
                "l_comment",
                texts((0..rows).map(|row| format!("comment {row}"))),
            ),
        ],
    );
}
