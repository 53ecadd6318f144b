//! Object stores and web servers, read and written by the built program.
#![cfg(feature = "cloud")]
#![allow(clippy::unwrap_used)]

mod object_store;
mod shell;

use object_store::{KEY, Server};
use shell::{Ended, Shell};

const SECRET: &str = "a-secret-that-nobody-may-see";

/// Buckets `tide` and `public`, and a shell that reaches them.
struct Stand {
    shell: Shell,
    server: Server,
}

impl Stand {
    fn new() -> Self {
        let server = Server::start();
        for bucket in ["tide", "public"] {
            let put = |name: &str, text| server.put(&format!("{bucket}/t/{name}"), text);
            put("y=1/a.csv", "a,b\n1,x\n2,y\n");
            put("y=2/b.csv", "b,a\nz,10\n");
            put("y=3/c.csv", "a,b\n20,w\n");
        }
        server.put("tide/t/_x/c.csv", "a,b\n100,x\n");
        server.put("tide/d/c.ndjson", "{\"a\": 7}\n");
        server.put("public/a.csv", "a\n3\n");
        Self {
            shell: Shell::new(),
            server,
        }
    }

    fn run_as(&self, key: &str, args: &[&str]) -> Ended {
        let variables = [
            ("AWS_ENDPOINT_URL", self.server.endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
        ];
        let ended = self.shell.run_with(&variables, args);
        assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
        ended
    }

    /// Reads and writes a bucket of another scheme, with the settings of its store.
    fn check_store(&self, bucket: &str, variables: &[(&str, &str)]) {
        let check = |sql: &str, expected: &str| {
            let sql = sql.replace("s3://tide", bucket);
            let ended = self
                .shell
                .run_with(variables, &["-q", "-F", "csv", "-c", &sql]);
            assert_eq!(
                (ended.code, ended.stdout.as_str()),
                (0, expected),
                "`{sql}`: {}",
                ended.stderr
            );
        };
        check(
            "SELECT y, sum(a) AS a FROM 's3://tide/t/' GROUP BY y ORDER BY y",
            "y,a\n1,3\n2,10\n3,20\n",
        );
        check("SELECT sum(a) AS a FROM 's3://tide/t/*/a.csv'", "a\n3\n");
        check("SELECT sum(a) AS a FROM 's3://tide/t/y=2/b.csv'", "a\n10\n");
        let rows = "SELECT value AS n, value % 3 AS k, md5(value::VARCHAR) AS t FROM range(400000)";
        check(&format!("COPY ({rows}) TO 's3://tide/out/one.parquet'"), "");
        check(
            "SELECT count(*) AS c, sum(n) AS s FROM 's3://tide/out/one.parquet'",
            "c,s\n400000,79999800000\n",
        );
        let parts = "TO 's3://tide/out/parts/' (FORMAT csv, PARTITION_BY (k)";
        check(&format!("COPY (FROM ({rows}) LIMIT 9) {parts})"), "");
        check(
            &format!("COPY (FROM ({rows}) LIMIT 9) {parts}, MODE append)"),
            "",
        );
        check(
            "SELECT k, count(*) AS c FROM 's3://tide/out/parts/' GROUP BY k ORDER BY k",
            "k,c\n0,6\n1,6\n2,6\n",
        );
        assert_eq!(self.server.open_uploads(), 0);
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.run_as(KEY, args)
    }

    fn check(&self, sql: &str, expected: &str) {
        let ended = self.run(&["-q", "-c", sql]);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (0, expected),
            "`{sql}`: {}",
            ended.stderr
        );
    }
}

#[test]
fn objects_prefixes_and_globs_of_a_bucket_are_tables() {
    let stand = Stand::new();
    stand.check(
        "SELECT y, sum(a) AS a FROM 's3://tide/t/' GROUP BY y ORDER BY y",
        "y,a\n1,3\n2,10\n3,20\n",
    );
    stand.check("SELECT sum(a) AS a FROM 's3://tide/t'", "a\n33\n");
    stand.check("SELECT sum(a) AS a FROM 's3://tide/t/*/a.csv'", "a\n3\n");
    stand.check("SELECT sum(a) AS a FROM 's3://tide/t/y=2/b.csv'", "a\n10\n");
    stand.check("SELECT a FROM 's3://tide/d/'", "a\n7\n");
}

/// A bucket with 200,000 rows in seven Parquet files.
fn with_parquet() -> Stand {
    let stand = Stand::new();
    let local = stand.run(&[
        "-q",
        "-c",
        "COPY (SELECT value AS n, value % 7 AS k, repeat('x', 50) AS t FROM range(200000)) TO 'local/' (FORMAT parquet, PARTITION_BY (k))",
    ]);
    assert_eq!(local.code, 0, "{}", local.stderr);
    for (key, bytes) in stand.shell.files("local") {
        stand.server.put_bytes(&format!("tide/p/{key}"), bytes);
    }
    stand
}

#[test]
fn a_durable_job_reads_a_bucket_and_does_not_read_it_again() {
    let stand = with_parquet();
    stand.shell.write(
        "halting.sql",
        "COPY (SELECT k, count(*) AS c, sum(n) AS s FROM 's3://tide/p/' GROUP BY k ORDER BY k) TO 'per-k.csv';
         SELECT count(*) AS c FROM 'late.csv'",
    );
    let call = "run halting.sql --job r --job-dir jobs --checkpoint-mode all -F csv -q";
    let call: Vec<&str> = call.split(' ').collect();
    let halted = stand.run(&call);
    assert_eq!(halted.code, 1, "{}", halted.stderr);
    assert!(halted.stderr.contains("late.csv"), "{}", halted.stderr);
    let read = |requests: &[String]| requests.iter().filter(|r| r.contains(".parquet")).count();
    let before = stand.server.requests();
    assert!(read(&before) > 6, "{before:?}");
    let table = stand.shell.read("per-k.csv");
    assert!(
        table.starts_with("k,c,s\n0,28572,") && table.lines().count() == 8,
        "{table}"
    );
    stand.shell.write("late.csv", "n\n1\n");
    let ended = stand.run(&call);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "c\n1\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(read(&stand.server.requests()[before.len()..]), 0);
    assert_eq!(stand.shell.read("per-k.csv"), table);
}

#[test]
fn parquet_is_read_in_ranges() {
    let stand = with_parquet();
    stand.check(
        "SELECT k, count(*) AS c, sum(n) AS s FROM 's3://tide/p/' WHERE k > 4 GROUP BY k ORDER BY k",
        "k,c,s\n5,28571,2857100000\n6,28571,2857128571\n",
    );
    stand.check("SELECT count(*) AS c FROM 's3://tide/p/'", "c\n200000\n");
    stand.check(
        "SELECT min(n) AS n FROM 's3://tide/p/**/*.parquet' WHERE n >= 150000",
        "n\n150000\n",
    );
}

#[test]
fn what_is_written_to_a_bucket_is_read_back() {
    let stand = Stand::new();
    let rows = "SELECT value AS n, value % 3 AS k FROM range(1000)";
    stand.check(&format!("COPY ({rows}) TO 's3://tide/out/one.parquet'"), "");
    stand.check(
        "SELECT count(*) AS c, sum(n) AS s FROM 's3://tide/out/one.parquet'",
        "c,s\n1000,499500\n",
    );
    let parts =
        format!("COPY ({rows}) TO 's3://tide/out/parts/' (FORMAT parquet, PARTITION_BY (k)");
    stand.check(&format!("{parts})"), "");
    stand.check(
        "SELECT k, count(*) AS c FROM 's3://tide/out/parts/' GROUP BY k ORDER BY k",
        "k,c\n0,334\n1,333\n2,333\n",
    );
    let again = stand.run(&["-c", &format!("{parts})")]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
    stand.check(&format!("{parts}, MODE append)"), "");
    stand.check(
        "SELECT count(*) AS c FROM 's3://tide/out/parts/'",
        "c\n2000\n",
    );
    assert_eq!(stand.server.open_uploads(), 0);
}

#[test]
fn buckets_of_google_are_read_and_written() {
    let stand = Stand::new();
    let account = format!(
        r#"{{"gcs_base_url": "{}", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}}"#,
        stand.server.endpoint
    );
    let variables = [
        ("GOOGLE_SERVICE_ACCOUNT_KEY", account.as_str()),
        ("GOOGLE_ALLOW_HTTP", "true"),
    ];
    stand.check_store("gs://public", &variables);
}

#[test]
fn containers_of_azure_are_read_and_written() {
    let stand = Stand::new();
    let variables = [
        ("AZURE_STORAGE_USE_EMULATOR", "true"),
        ("AZURE_ALLOW_HTTP", "true"),
        ("AZURITE_BLOB_STORAGE_URL", stand.server.endpoint.as_str()),
    ];
    stand.check_store("az://tide", &variables);
}

#[test]
fn a_failed_write_leaves_no_object_and_no_upload() {
    let stand = Stand::new();
    let before = stand.server.paths();
    let failing =
        "COPY (SELECT 1 / (500000 - value) AS x FROM range(1000000)) TO 's3://tide/out/x.parquet'";
    let ended = stand.run(&["-c", failing]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("error: division by zero"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        (stand.server.paths(), stand.server.open_uploads()),
        (before, 0)
    );
}

#[test]
fn mistakes_are_told_without_secrets() {
    let stand = Stand::new();
    let check = |ended: &Ended, code: i32, expected: &str| {
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    };
    let from = |path: &str| format!("FROM 's3://{path}'");
    let ended = stand.run(&["-c", &from("tide/t/y=1/a.cvs")]);
    check(&ended, 1, "`s3://tide/t/y=1/a.cvs` does not exist");
    check(&ended, 1, "did you mean `a.csv`?");
    let ended = stand.run(&["-c", &from("no-such-bucket/a.csv")]);
    check(&ended, 1, "no-such-bucket");
    let ended = stand.run_as("another-key", &["-c", &from("tide/d/")]);
    check(
        &ended,
        1,
        "`s3://tide/d/` cannot be read: the store denies it",
    );
    let ended = stand.run(&["--no-network", "-c", &from("tide/d/")]);
    check(&ended, 5, "is denied");
}

#[test]
fn a_directory_inside_of_a_table_format_is_refused() {
    let stand = Stand::new();
    stand.server.put("tide/lake/_delta_log/0.json", "{}");
    stand.server.put("tide/lake/y=1/a.csv", "a\n1\n");
    for path in ["lake", "lake/y=1/", "lake/*/*.csv"] {
        let ended = stand.run(&["-c", &format!("FROM 's3://tide/{path}'")]);
        assert!(
            ended
                .stderr
                .contains("`s3://tide/lake` is a Delta Lake table"),
            "{path}: {}",
            ended.stderr
        );
    }
}

#[test]
fn a_file_of_a_web_server_is_a_table_and_a_glob_is_refused() {
    let stand = Stand::new();
    let file = format!("{}/public/a.csv", stand.server.endpoint);
    stand.check(&format!("SELECT sum(a) AS a FROM '{file}'"), "a\n3\n");
    let signed = format!("{file}?signature={SECRET}");
    let ended = stand.run(&["-q", "-c", &format!("SELECT sum(a) AS a FROM '{signed}'")]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "a\n3\n"),
        "{}",
        ended.stderr
    );
    let ended = stand.run(&[
        "-c",
        &format!("FROM '{}/public/*.csv'", stand.server.endpoint),
    ]);
    assert!(
        ended.stderr.contains("a web server cannot be listed"),
        "{}",
        ended.stderr
    );
}

#[test]
fn keys_are_found_in_the_shared_file_of_the_home_directory() {
    let stand = Stand::new();
    let home = stand.shell.path("home");
    std::fs::create_dir_all(home.join(".aws")).unwrap();
    let keys = format!(
        "[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\nregion = us-east-1\n"
    );
    std::fs::write(home.join(".aws/credentials"), keys).unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL", stand.server.endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("HOME", home.to_str().unwrap()),
    ];
    let sql = "SELECT sum(a) AS s FROM 's3://tide/t/'";
    let ended = stand
        .shell
        .run_with(&variables, &["-q", "-F", "csv", "-c", sql]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "s\n33\n"),
        "{}",
        ended.stderr
    );
}
