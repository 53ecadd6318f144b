//! Tables of what the scheduler does: a line for each event, and the actions that it gives.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use super::*;

/// A graph such as `2 | 3<0 | 1<0,1`: the tasks of each stage, and what it reads.
fn stages(text: &str) -> Vec<StageSpec> {
    let number = |text: &str| text.trim().parse::<usize>().unwrap();
    let stage = |text: &str| {
        let (tasks, inputs) = text.split_once('<').unwrap_or((text, ""));
        StageSpec {
            inputs: inputs.split_terminator(',').map(number).collect(),
            tasks: number(tasks),
            cost: 1.0,
        }
    };
    text.split('|').map(stage).collect()
}

fn scheduler(graph: &str, limits: Limits) -> Scheduler {
    Scheduler::new(stages(graph), limits, Policy::Fifo).unwrap()
}

/// A task such as `1.0`, or an attempt such as `1.0#2`.
fn attempt(text: &str) -> (TaskId, AttemptId) {
    let (task, attempt) = text.split_once('#').unwrap_or((text, "0"));
    let (stage, partition) = task.split_once('.').unwrap();
    let task = TaskId {
        stage: stage.parse().unwrap(),
        partition: partition.parse().unwrap(),
    };
    (task, AttemptId(attempt.parse().unwrap()))
}

/// An event such as `begin`, `join 0 2`, `lost 0`, `sealed 0.1#0`, `retryable 0.1#0`,
/// `corrupt 1.0#0 0.1`, `gone 0.1` or `woken`.
fn event(text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    let worker = || WorkerId(words[1].parse().unwrap());
    let failed = |class| {
        let (task, attempt) = attempt(words[1]);
        Event::Failed {
            task,
            attempt,
            class,
        }
    };
    match words[0] {
        "begin" => Event::Begin,
        "join" => Event::WorkerJoined {
            worker: worker(),
            slots: words[2].parse().unwrap(),
        },
        "lost" => Event::WorkerLost { worker: worker() },
        "sealed" => {
            let (task, attempt) = attempt(words[1]);
            Event::Sealed { task, attempt }
        }
        "retryable" => failed(FailureClass::Retryable),
        "repartition" => failed(FailureClass::Repartition),
        "fatal" => failed(FailureClass::Fatal),
        "corrupt" => failed(FailureClass::Corrupt {
            input: attempt(words[2]).0,
        }),
        "gone" => Event::OutputLost {
            task: attempt(words[1]).0,
        },
        "woken" => Event::Woken,
        _ => panic!("`{text}` is no event"),
    }
}

fn said(action: &Action) -> String {
    match action {
        Action::Run {
            task,
            attempt,
            worker,
        } => format!("run {task}#{} on {}", attempt.0, worker.0),
        Action::Cancel {
            task,
            attempt,
            worker,
        } => format!("cancel {task}#{} on {}", attempt.0, worker.0),
        Action::WakeAt { at } => format!("wake at {}", at.as_millis()),
        Action::Finished => "finished".to_string(),
        Action::Fail { task: None, why } => format!("fail: {why:?}"),
        Action::Fail {
            task: Some(task),
            why,
        } => format!("fail {task}: {why:?}"),
    }
}

/// Hands in events, each with its time in milliseconds, and compares the actions.
fn check(mut scheduler: Scheduler, script: &[(u64, &str, &str)]) {
    for (time, text, expected) in script {
        let actions = scheduler.step(Duration::from_millis(*time), event(text));
        let said: Vec<String> = actions.iter().map(said).collect();
        assert_eq!(said.join(", "), *expected, "at {time}: {text}");
    }
}

#[test]
fn a_stage_runs_when_all_of_its_inputs_are_complete() {
    check(
        scheduler("2 | 1 | 1<0 | 2<1,2", Limits::default()),
        &[
            (0, "join 0 9", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0, run 1.0#0 on 0"),
            (1, "sealed 0.1#0", ""),
            (2, "sealed 1.0#0", ""),
            (3, "sealed 0.0#0", "run 2.0#0 on 0"),
            (4, "sealed 2.0#0", "run 3.0#0 on 0, run 3.1#0 on 0"),
            (5, "sealed 3.0#0", ""),
            (6, "sealed 3.1#0", "finished"),
            (7, "sealed 3.1#0", ""),
            (8, "lost 0", ""),
            (9, "begin", ""),
        ],
    );
}

#[test]
fn nothing_runs_before_the_begin_and_slots_are_never_exceeded() {
    check(
        scheduler("4", Limits::default()),
        &[
            (0, "begin", "wake at 30000"),
            (0, "join 0 1", "run 0.0#0 on 0"),
            (0, "begin", ""),
            (0, "join 1 2", "run 0.1#0 on 1, run 0.2#0 on 1"),
            (0, "join 1 2", ""),
            (1, "sealed 0.1#0", "run 0.3#0 on 1"),
            (2, "sealed 0.3#0", ""),
            (3, "sealed 0.2#0", ""),
            (4, "sealed 0.0#0", "finished"),
        ],
    );
}

#[test]
fn a_failure_is_tried_again_after_pauses_that_double_and_elsewhere() {
    check(
        scheduler("1", Limits::default()),
        &[
            (0, "join 0 1", ""),
            (0, "join 1 1", ""),
            (0, "begin", "run 0.0#0 on 0"),
            (10, "retryable 0.0#0", "wake at 110"),
            (11, "retryable 0.0#0", ""),
            (50, "woken", "wake at 110"),
            (110, "woken", "run 0.0#1 on 1"),
            (120, "retryable 0.0#1", "wake at 320"),
            (320, "woken", "run 0.0#2 on 0"),
            (330, "retryable 0.0#2", "wake at 730"),
            (731, "woken", "run 0.0#3 on 1"),
            (740, "retryable 0.0#3", "fail 0.0: Exhausted"),
            (741, "sealed 0.0#3", ""),
        ],
    );
}

#[test]
fn a_pause_has_its_longest() {
    let limits = Limits::default();
    let pauses = [1, 2, 7, 8, 9, 99, u32::MAX].map(|n| limits.pause(n).as_millis());
    assert_eq!(pauses, [100, 200, 6400, 10_000, 10_000, 10_000, 10_000]);
}

#[test]
fn a_fatal_failure_ends_the_job_with_everything_cancelled() {
    check(
        scheduler("3", Limits::default()),
        &[
            (0, "join 0 2", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0"),
            (1, "fatal 0.0#0", "cancel 0.1#0 on 0, fail 0.0: Fatal"),
            (2, "sealed 0.1#0", ""),
            (3, "woken", ""),
        ],
    );
}

#[test]
fn what_ran_out_of_memory_runs_alone() {
    check(
        scheduler("4", Limits::default()),
        &[
            (0, "join 0 2", ""),
            (0, "join 1 1", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0, run 0.2#0 on 1"),
            (1, "repartition 0.0#0", ""),
            (2, "sealed 0.1#0", ""),
            (3, "sealed 0.2#0", "run 0.0#1 on 1"),
            (4, "sealed 0.2#0", ""),
            (5, "sealed 0.0#1", "run 0.3#0 on 0"),
            (6, "sealed 0.3#0", "finished"),
        ],
    );
}

#[test]
fn running_out_of_memory_alone_is_counted() {
    let limits = Limits {
        attempts_max: 2,
        ..Limits::default()
    };
    let mut scheduler = scheduler("2", limits);
    let (task, _) = attempt("0.0");
    for text in ["join 0 1", "begin", "repartition 0.0#0"] {
        assert!(!scheduler.runs_alone(task));
        scheduler.step(Duration::ZERO, event(text));
    }
    assert!(scheduler.runs_alone(task));
    check(
        scheduler,
        &[(1, "repartition 0.0#1", "fail 0.0: Exhausted")],
    );
}

#[test]
fn what_ran_on_a_lost_worker_runs_elsewhere_but_may_have_sealed() {
    check(
        scheduler("2 | 1<0", Limits::default()),
        &[
            (0, "join 0 2", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0"),
            (0, "join 1 1", ""),
            (1, "lost 0", "wake at 101"),
            (1, "lost 0", ""),
            (2, "join 0 9", ""),
            (101, "woken", "run 0.0#1 on 1"),
            // The first attempt had sealed before its worker was lost.
            (102, "sealed 0.0#0", "cancel 0.0#1 on 1, run 0.1#1 on 1"),
            (103, "sealed 0.0#1", ""),
            (104, "retryable 0.1#0", ""),
            (105, "sealed 0.1#1", "run 1.0#0 on 1"),
            (106, "sealed 0.1#0", ""),
            (107, "sealed 1.0#0", "finished"),
        ],
    );
}

#[test]
fn a_task_that_kills_its_workers_is_named() {
    let limits = Limits {
        attempts_max: 2,
        ..Limits::default()
    };
    check(
        scheduler("1", limits),
        &[
            (0, "join 0 1", ""),
            (0, "join 1 1", ""),
            (0, "begin", "run 0.0#0 on 0"),
            (1, "lost 0", "wake at 101"),
            (101, "woken", "run 0.0#1 on 1"),
            (102, "lost 1", "fail 0.0: WorkerLost"),
        ],
    );
}

#[test]
fn a_job_without_workers_waits_for_so_long() {
    check(
        scheduler("1", Limits::default()),
        &[
            (0, "woken", ""),
            (5, "begin", "wake at 30005"),
            (10, "join 0 1", "run 0.0#0 on 0"),
            (30_005, "woken", ""),
            (30_006, "lost 0", "wake at 30106"),
            (30_106, "woken", "wake at 60006"),
            (60_006, "join 1 0", "fail: NoWorkers"),
        ],
    );
    check(
        scheduler("1", Limits::default()),
        &[
            (5, "begin", "wake at 30005"),
            (30_005, "join 1 1", "run 0.0#0 on 1"),
            (30_006, "sealed 0.0#0", "finished"),
        ],
    );
}

#[test]
fn lost_output_is_made_again_with_what_it_needs_and_no_more() {
    check(
        scheduler("2 | 2<0 | 1<1 | 1<2", Limits::default()),
        &[
            (0, "join 0 2", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0"),
            (1, "sealed 0.0#0", ""),
            (1, "sealed 0.1#0", "run 1.0#0 on 0, run 1.1#0 on 0"),
            (2, "sealed 1.0#0", ""),
            (2, "sealed 1.1#0", "run 2.0#0 on 0"),
            // Nothing waits for the first stage any more, so this is not made again yet.
            (3, "gone 0.1", ""),
            (3, "gone 0.1", ""),
            (4, "sealed 2.0#0", "run 3.0#0 on 0"),
            // What is lost of the third stage needs the second, of which one task is lost, ...
            (5, "gone 1.1", ""),
            // ... and that the first.
            (6, "corrupt 3.0#0 2.0", "run 0.1#1 on 0"),
            (7, "sealed 0.1#0", ""),
            (8, "sealed 0.1#1", "run 1.1#1 on 0"),
            (9, "sealed 1.1#1", "run 2.0#1 on 0"),
            (9, "corrupt 3.0#0 2.0", ""),
            (10, "sealed 2.0#1", "run 3.0#1 on 0"),
            (11, "sealed 3.0#1", "finished"),
        ],
    );
}

#[test]
fn what_nothing_waits_for_any_more_is_cancelled() {
    check(
        scheduler("2 | 1<0 | 1<1", Limits::default()),
        &[
            (0, "join 0 2", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0"),
            (1, "sealed 0.0#0", ""),
            (1, "sealed 0.1#0", "run 1.0#0 on 0"),
            (2, "gone 0.0", "run 0.0#1 on 0"),
            (2, "gone 0.1", ""),
            (3, "sealed 1.0#0", "cancel 0.0#1 on 0, run 2.0#0 on 0"),
            (4, "sealed 0.0#1", ""),
            (5, "sealed 2.0#0", "finished"),
        ],
    );
}

#[test]
fn what_nothing_waits_for_is_cancelled_even_while_its_own_input_is_made_again() {
    check(
        scheduler("1 | 1<0 | 1<1 | 1<2", Limits::default()),
        &[
            (0, "join 0 3", ""),
            (0, "begin", "run 0.0#0 on 0"),
            (1, "sealed 0.0#0", "run 1.0#0 on 0"),
            (2, "sealed 1.0#0", "run 2.0#0 on 0"),
            (3, "gone 1.0", "run 1.0#1 on 0"),
            (4, "gone 0.0", "run 0.0#1 on 0"),
            (
                5,
                "sealed 2.0#0",
                "cancel 0.0#1 on 0, cancel 1.0#1 on 0, run 3.0#0 on 0",
            ),
        ],
    );
}

#[test]
fn a_report_of_output_that_was_made_again_meanwhile_is_not_heard() {
    check(
        scheduler("1 | 2<0", Limits::default()),
        &[
            (0, "join 0 3", ""),
            (0, "begin", "run 0.0#0 on 0"),
            (1, "sealed 0.0#0", "run 1.0#0 on 0, run 1.1#0 on 0"),
            (2, "corrupt 1.0#0 0.0", "run 0.0#1 on 0"),
            (3, "sealed 0.0#1", "run 1.0#1 on 0"),
            // It read what is lost already: only this attempt is made again.
            (4, "corrupt 1.1#0 0.0", "run 1.1#1 on 0"),
            // What is there now is damaged too.
            (5, "corrupt 1.1#1 0.0", "run 0.0#2 on 0"),
        ],
    );
}

#[test]
fn damage_of_what_is_not_read_is_a_failure_like_another() {
    for input in ["1.0", "7.7", "0.9"] {
        let event = format!("corrupt 0.0#0 {input}");
        check(
            scheduler("1 | 1<0", Limits::default()),
            &[
                (0, "join 0 1", ""),
                (0, "begin", "run 0.0#0 on 0"),
                (1, &event, "wake at 101"),
            ],
        );
    }
}

#[test]
fn output_is_not_lost_for_ever() {
    let limits = Limits {
        losses_max: 1,
        ..Limits::default()
    };
    check(
        scheduler("1 | 1<0", limits),
        &[
            (0, "join 0 9", ""),
            (0, "begin", "run 0.0#0 on 0"),
            (1, "sealed 0.0#0", "run 1.0#0 on 0"),
            (2, "gone 0.0", "run 0.0#1 on 0"),
            (3, "sealed 0.0#1", ""),
            (4, "gone 0.0", "cancel 1.0#0 on 0, fail 0.0: OutputLost"),
        ],
    );
}

#[test]
fn what_varies_is_not_mixed() {
    let varying = || {
        let scheduler = scheduler("1 | 1<0 | 1<1", Limits::default());
        scheduler.with_varying(0).unwrap()
    };
    let begin = [
        (0, "join 0 1", ""),
        (0, "begin", "run 0.0#0 on 0"),
        (1, "sealed 0.0#0", "run 1.0#0 on 0"),
    ];
    // What reads it is given up, and what it may still say does not count.
    let unread = [
        (2, "gone 0.0", "cancel 1.0#0 on 0, run 0.0#1 on 0"),
        (3, "sealed 1.0#0", ""),
        (4, "sealed 0.0#1", "run 1.0#1 on 0"),
        (5, "sealed 1.0#0", ""),
        (6, "sealed 1.0#1", "run 2.0#0 on 0"),
    ];
    check(varying(), &[begin.as_slice(), &unread].concat());
    // While nothing needs it, it may be lost; then all that was computed from it is gone too.
    let unneeded = [
        (2, "sealed 1.0#0", "run 2.0#0 on 0"),
        (3, "gone 0.0", ""),
        (4, "gone 1.0", "cancel 2.0#0 on 0, run 0.0#1 on 0"),
        (5, "sealed 2.0#0", ""),
        (6, "sealed 0.0#1", "run 1.0#1 on 0"),
    ];
    check(varying(), &[begin.as_slice(), &unneeded].concat());
    // Nor does what an attempt says that was given up on before.
    let gone = [
        (2, "lost 0", "wake at 102"),
        (3, "gone 0.0", ""),
        (4, "sealed 1.0#0", ""),
        (5, "join 1 1", "run 0.0#1 on 1"),
    ];
    check(varying(), &[begin.as_slice(), &gone].concat());
    // One of two readers is done: the other would read something else.
    let scheduler = scheduler("1 | 2<0", Limits::default());
    let used = [
        (0, "join 0 1", ""),
        (0, "begin", "run 0.0#0 on 0"),
        (1, "sealed 0.0#0", "run 1.0#0 on 0"),
        (2, "sealed 1.0#0", "run 1.1#0 on 0"),
        (3, "gone 0.0", "cancel 1.1#0 on 0, fail 0.0: Varies"),
    ];
    check(scheduler.with_varying(0).unwrap(), &used);
    // The same, when an earlier run had come so far.
    let resumed = Scheduler::new(stages("1 | 2<0"), Limits::default(), Policy::Fifo).unwrap();
    let (task, attempt) = attempt("1.0#0");
    let resumed = resumed.with_varying(0).unwrap().with_sealed(task, attempt);
    check(resumed.unwrap(), &[(0, "begin", "fail 0.0: Varies")]);
}

#[test]
fn the_stuck_are_cancelled_tried_again_and_named() {
    let limits = Limits {
        attempts_max: 2,
        task_timeout: Some(TaskTimeout::Estimate {
            factor: 3.0,
            minimum: Duration::from_secs(1),
        }),
        ..Limits::default()
    };
    check(
        scheduler("2", limits),
        &[
            (0, "join 0 2", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0, wake at 3000"),
            (1, "sealed 0.1#0", ""),
            (2999, "woken", "wake at 3000"),
            (3000, "woken", "cancel 0.0#0 on 0, wake at 3100"),
            (3100, "woken", "run 0.0#1 on 0, wake at 6100"),
            (6100, "woken", "cancel 0.0#1 on 0, fail 0.0: Stuck"),
        ],
    );
    let times = [1e-9, 0.5, 1e300].map(|cost| {
        let estimate = TaskTimeout::Estimate {
            factor: 3.0,
            minimum: Duration::from_secs(1),
        };
        let limits = Limits {
            task_timeout: Some(estimate),
            ..Limits::default()
        };
        limits.timeout(cost).unwrap().as_millis()
    });
    assert_eq!(times, [1000, 1500, Duration::MAX.as_millis()]);
}

#[test]
fn stragglers_are_tried_a_second_time_when_nothing_else_is_to_do() {
    let limits = Limits {
        speculation: Some(Speculation {
            factor: 2.0,
            minimum: Duration::from_millis(50),
        }),
        ..Limits::default()
    };
    check(
        scheduler("3", limits),
        &[
            (0, "join 0 2", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0"),
            (100, "sealed 0.0#0", "run 0.2#0 on 0"),
            (110, "join 1 1", ""),
            (300, "sealed 0.2#0", "wake at 400"),
            (400, "woken", "run 0.1#1 on 1"),
            (900, "woken", ""),
            (1000, "sealed 0.1#1", "cancel 0.1#0 on 0, finished"),
        ],
    );
}

#[test]
fn one_of_two_attempts_may_fail() {
    let limits = Limits {
        attempts_max: 1,
        speculation: Some(Speculation {
            factor: 2.0,
            minimum: Duration::from_millis(50),
        }),
        ..Limits::default()
    };
    check(
        scheduler("2", limits),
        &[
            (0, "join 0 3", ""),
            (0, "begin", "run 0.0#0 on 0, run 0.1#0 on 0"),
            (100, "sealed 0.0#0", "wake at 200"),
            (200, "woken", "run 0.1#1 on 0"),
            (300, "retryable 0.1#0", ""),
            (400, "retryable 0.1#1", "fail 0.1: Exhausted"),
        ],
    );
}

#[test]
fn what_an_earlier_run_sealed_is_not_run_again() {
    let resumed = |done: &[&str]| {
        let mut resumed = scheduler("2 | 1<0", Limits::default());
        for (task, attempt) in done.iter().copied().map(attempt) {
            resumed = resumed.with_sealed(task, attempt).unwrap();
            assert_eq!(resumed.sealed(task), Some(attempt));
        }
        resumed
    };
    check(
        resumed(&["0.0#3", "0.1#0"]),
        &[
            (0, "join 0 1", ""),
            (0, "begin", "run 1.0#0 on 0"),
            (1, "corrupt 1.0#0 0.0", "run 0.0#4 on 0"),
            (2, "sealed 0.0#3", ""),
            (3, "sealed 0.0#4", "run 1.0#1 on 0"),
        ],
    );
    check(
        resumed(&["1.0#0"]),
        &[(0, "join 0 1", ""), (0, "begin", "finished")],
    );
}

#[test]
fn what_nobody_knows_does_no_harm() {
    check(
        scheduler("1", Limits::default()),
        &[
            (0, "sealed 0.0#0", ""),
            (0, "join 0 1", ""),
            (9, "begin", "run 0.0#0 on 0"),
            (5, "sealed 0.0#7", ""),
            (5, "sealed 0.9#0", ""),
            (5, "fatal 9.0#0", ""),
            (5, "fatal 0.0#1", ""),
            (5, "gone 9.9", ""),
            (5, "gone 0.0", ""),
            (5, "lost 9", ""),
            (5, "woken", ""),
            (5, "sealed 0.0#0", "finished"),
        ],
    );
}

#[test]
fn a_policy_chooses_among_stages() {
    let costs = [[3.0, 5.0], [4.0, 1.0]];
    for (policy, expected) in [
        (Policy::Fifo, ["0.0", "0.1", "1.0", "1.1"]),
        (Policy::RoundRobin, ["0.0", "1.0", "0.1", "1.1"]),
        (Policy::Priority(vec![0, 1]), ["1.0", "1.1", "0.0", "0.1"]),
        (Policy::LongestFirst, ["0.1", "1.0", "0.0", "1.1"]),
        // Three more follow the second stage.
        (Policy::CriticalPath, ["1.0", "0.1", "0.0", "1.1"]),
    ] {
        let mut specs = stages("2 | 2 | 1<0 | 1<1");
        specs[3].cost = 3.0;
        let mut scheduler = Scheduler::new(specs, Limits::default(), policy.clone()).unwrap();
        for (stage, costs) in costs.iter().enumerate() {
            scheduler = scheduler.with_costs(stage, costs).unwrap();
        }
        scheduler.step(Duration::ZERO, event("join 0 1"));
        let mut next = scheduler.step(Duration::ZERO, Event::Begin);
        for expected in expected {
            let [Action::Run { task, attempt, .. }] = next.as_slice() else {
                panic!("{policy}: {next:?}");
            };
            let (task, attempt) = (*task, *attempt);
            assert_eq!(task.to_string(), expected, "{policy}");
            next = scheduler.step(Duration::ZERO, Event::Sealed { task, attempt });
        }
    }
}

#[test]
fn what_cannot_be_run_is_refused() {
    let invalid = |stages, limits| {
        let scheduler = Scheduler::new(stages, limits, Policy::Fifo);
        scheduler.unwrap_err().to_string()
    };
    let fine = Limits::default;
    let mut endless = stages("1");
    endless[0].cost = f64::INFINITY;
    for (stages, expected) in [
        (Vec::new(), "a job needs a stage"),
        (stages("1 | 0<0"), "stage 1 has no task"),
        (
            stages("1 | 1<1"),
            "stage 1 reads stage 1, which is not before it",
        ),
        (endless, "the cost of a task of stage 0 is inf"),
    ] {
        assert_eq!(invalid(stages, fine()), expected);
    }
    let limits = Limits {
        attempts_max: 0,
        ..fine()
    };
    assert_eq!(
        invalid(stages("1"), limits),
        "`attempts_max` must be above zero"
    );
    let limits = Limits {
        task_timeout: Some(TaskTimeout::Fixed(Duration::ZERO)),
        ..fine()
    };
    assert_eq!(
        invalid(stages("1"), limits),
        "`task_timeout` must be above zero"
    );
    let speculation = Speculation {
        factor: f64::NAN,
        minimum: Duration::ZERO,
    };
    let limits = Limits {
        speculation: Some(speculation),
        ..fine()
    };
    assert_eq!(
        invalid(stages("1"), limits),
        "`speculation` must be above zero"
    );
    let one = || scheduler("2", fine());
    let (task, attempt) = attempt("0.2");
    for (error, expected) in [
        (
            one().with_costs(0, &[1.0]),
            "1 costs for the 2 tasks of stage 0",
        ),
        (
            one().with_costs(0, &[1.0, -1.0]),
            "the cost of a task of stage 0 is -1",
        ),
        (one().with_costs(3, &[]), "there is no stage 3"),
        (one().with_varying(1), "there is no stage 1"),
        (one().with_sealed(task, attempt), "there is no task 0.2"),
    ] {
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}
