//! Tab.

use crate::pty::*;
use crate::{data, open};

#[test]
fn keywords_keep_the_case_that_was_typed() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("sel\t");
    terminal.expect_line("tidegate> select");
    terminal.keys("\x15SUMM\t");
    terminal.expect_line("tidegate> SUMMARIZE");
}

#[test]
fn files_are_completed_inside_quotes_up_to_the_closing_one() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select * from 'zo\t");
    terminal.expect_line("tidegate> select * from 'zones.csv'");
    assert!(terminal.run(";").contains("north"));
    terminal.keys("select * from 'nes\tin\t");
    terminal.expect_line("tidegate> select * from 'nested/inner.csv'");
    assert!(terminal.run(";").contains("beta"));
}

#[test]
fn many_files_are_listed() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select * from '\t");
    terminal.expect("trips.csv");
    terminal.expect("zones.csv");
    terminal.expect("nested/");
    terminal.expect_line("tidegate> select * from '");
}

#[test]
fn columns_of_a_file_are_known_before_and_after_it_is_named() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select 1 from 'zones.csv' where zone_n\t");
    terminal.expect_line("tidegate> select 1 from 'zones.csv' where zone_name");
    terminal.keys("\x15select zone_i from 'zones.csv'");
    for _ in 0.." from 'zones.csv'".len() {
        terminal.keys("\x1b[D");
    }
    terminal.keys(TAB);
    terminal.expect("select zone_id from 'zones.csv'");
}

#[test]
fn columns_are_known_from_an_earlier_line() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select * from 'zones.csv'\r");
    terminal.expect_line("      ->");
    terminal.keys("where zone_na\t");
    terminal.expect_line("      -> where zone_name");
}

#[test]
fn functions_come_with_a_bracket() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select regexp_rep\t");
    terminal.expect_line("tidegate> select regexp_replace(");
}

#[test]
fn tables_and_their_columns() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run("create view my_view as select 1 as first_column, 2 as second_column;");
    terminal.keys("select * from my_v\t");
    terminal.expect_line("tidegate> select * from my_view");
    terminal.keys(" v where v.sec\t");
    terminal.expect_line("tidegate> select * from my_view v where v.second_column");
}

#[test]
fn settings_follow_set() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("set max_r\t");
    terminal.expect_line("tidegate> set max_rows");
    terminal.keys("\x15set pager = nev\t");
    terminal.expect_line("tidegate> set pager = never");
}

#[test]
fn meta_commands_and_their_arguments() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys(".tab\t");
    terminal.expect_line("tidegate> .tables");
    terminal.keys("\x15.mode mark\t");
    terminal.expect_line("tidegate> .mode markdown");
    terminal.keys("\x15\\timi\t");
    terminal.expect_line("tidegate> \\timing");
    terminal.keys("\x15.read nes\t");
    terminal.expect_line("tidegate> .read nested/");
}

#[test]
fn table_functions_follow_from() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select * from read_pa\t");
    terminal.expect_line("tidegate> select * from read_parquet(");
    terminal.keys("\x15select * from generate_s\t");
    terminal.expect_line("tidegate> select * from generate_series(");
    terminal.keys("\x15select * from read_csv('tri\t");
    terminal.expect_line("tidegate> select * from read_csv('trips.csv'");
    terminal.keys(") t where t.fa\t");
    terminal.expect_line("tidegate> select * from read_csv('trips.csv') t where t.fare");
}

#[test]
fn commands_complete_paths_and_settings_their_values() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys(".schema zo\t");
    terminal.expect_line("tidegate> .schema zones.csv");
    terminal.keys("\x15.schema 'nes\tin\t");
    terminal.expect_line("tidegate> .schema 'nested/inner.csv'");
    assert!(terminal.run("").contains("alpha"));
    terminal.keys("set progress = nev\t");
    terminal.expect_line("tidegate> set progress = never");
    terminal.keys("\x15.output tri\t");
    terminal.expect_line("tidegate> .output trips.csv");
}
