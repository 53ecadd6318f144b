//! Damaged files: an error that names the file or some rows, never a panic, never a flood of memory.

use super::*;

/// A generator whose seed a failure prints.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// `bytes` with a few accidents.
pub(crate) fn mutate(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => {
                bytes[at] = [0, 0xff, 0x7f, 0x80, b'"', b'\n'][random.below(6)]
            }
            3 => bytes.insert(at, random.next() as u8),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            _ => {
                let end = (at + random.below(16)).min(bytes.len());
                for byte in &mut bytes[at.min(end)..end] {
                    *byte = random.next() as u8;
                }
            }
        }
    }
    bytes
}

const MUTATIONS: u64 = 2000;

fn check(format: &Format, name: &str, sound: &[u8], columns: &[(&str, DataType)]) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for seed in 0..MUTATIONS {
        let path = write(dir.path(), name, &mutate(sound, seed));
        let scan = Scan::new(format.clone(), columns, std::slice::from_ref(&path));
        let partitions = 1 + (seed % 3) as usize;
        let plan = scan.dealt(partitions);
        let run = std::panic::AssertUnwindSafe(|| {
            let _ = crate::source::infer(
                format,
                &InputFile::local(&path).unwrap(),
                &crate::source::InferOptions::default(),
            );
            runtime.block_on(datafusion::physical_plan::collect(plan, task()))
        });
        match std::panic::catch_unwind(run) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let text = text_of_error(&error);
                assert!(
                    text.contains(name),
                    "{name}, seed {seed}: the file is not named: {text}"
                );
            }
            Err(_) => panic!("{name}, seed {seed}: panicked"),
        }
    }
}

const COLUMNS: [(&str, DataType); 2] = [("a", DataType::Int64), ("b", DataType::Utf8)];

#[test]
fn csv_survives_damage() {
    let text: String = (0..40).map(|i| format!("{i},\"t\n{i}\"\n")).collect();
    check(&csv(), "m.csv", format!("a,b\n{text}").as_bytes(), &COLUMNS);
}

#[test]
fn json_survives_damage() {
    let lines: Vec<String> = (0..20)
        .map(|i| format!("{{\"a\":{i},\"b\":\"t\\n{i}\"}}"))
        .collect();
    check(&json(), "m.ndjson", lines.join("\n").as_bytes(), &COLUMNS);
    check(
        &json(),
        "m.json",
        format!("[{}]", lines.join(",")).as_bytes(),
        &COLUMNS,
    );
}

#[test]
fn arrow_and_avro_survive_damage() {
    for (format, name, bytes) in super::binary::sample(40, 15) {
        check(&format, name, &bytes, &COLUMNS);
    }
}

#[test]
fn compressed_text_survives_damage() {
    for (name, bytes) in crate::input::compressed(b"a,b\n1,x\n2,y\n") {
        check(&csv(), &format!("m.{name}"), &bytes, &COLUMNS);
    }
}
