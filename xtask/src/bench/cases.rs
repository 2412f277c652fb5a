//! What is measured: one case a row of the table.

/// A program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BesideProgram {
    /// Reads bodies and answers.
    Bare,
    /// Does what is necessary, and nothing more.
    Floor,
    /// Nothing: the case is compared with another one, or stands for itself.
    Nothing,
}

/// When requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckMoment {
    /// The events are in memory.
    Memory,
    /// They are on disk.
    Durable,
    /// Every endpoint has them.
    Delivered,
}

/// How a router is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct CaseSetup {
    pub(super) endpoints: usize,
    /// None: every event matches a route of each endpoint. Else routes to one endpoint, of which an event
    /// matches one; with 0 there is one that none matches.
    pub(super) routes: Option<usize>,
    pub(super) ack: AckMoment,
    /// Threads of the router: more than one has two cores, which the load shares.
    pub(super) workers: usize,
    /// The endpoint is the emulator's event hub.
    pub(super) is_hub: bool,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadPace {
    /// As fast as they are answered.
    Answered,
    /// So many events a second.
    Rate(u64),
    /// Twice as many as the load before got through, for so many seconds.
    Twice(u64),
}

/// What is posted.
#[derive(Clone, Copy, Debug)]
pub(super) struct CaseLoad {
    pub(super) events: u64,
    pub(super) batch: u64,
    pub(super) bytes: usize,
    pub(super) pace: LoadPace,
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct BenchCase {
    pub(super) name: String,
    pub(super) setup: CaseSetup,
    /// What came before the last load warms up only.
    pub(super) loads: Vec<CaseLoad>,
    pub(super) beside: BesideProgram,
    /// Memory is looked at once more after so many seconds.
    pub(super) rest_seconds: u64,
    /// Part of the short run.
    pub(super) is_quick: bool,
}

/// Two rows that are compared: what the first costs in terms of the second.
pub(super) const PAIRS: [(&str, &str, &str); 5] = [
    (
        "10,000 routes against 10, single",
        "routes-10000-single",
        "routes-10-single",
    ),
    (
        "10,000 routes against 10, batch",
        "routes-10000-batch",
        "routes-10-batch",
    ),
    (
        "event hub (AMQP) against Event Grid (HTTP)",
        "hub-batch",
        "one-memory-batch",
    ),
    (
        "two workers against one, single",
        "workers-2-single",
        "workers-1-single",
    ),
    (
        "two workers against one, batch",
        "workers-2-batch",
        "workers-1-batch",
    ),
];

const PLAIN: CaseSetup = CaseSetup {
    endpoints: 1,
    routes: None,
    ack: AckMoment::Memory,
    workers: 1,
    is_hub: false,
};
const SINGLE: CaseLoad = CaseLoad {
    events: 150_000,
    batch: 1,
    bytes: 1_024,
    pace: LoadPace::Answered,
};
const BATCH: CaseLoad = CaseLoad {
    events: 400_000,
    batch: 100,
    ..SINGLE
};
const KINDS: [(&str, CaseLoad); 2] = [("single", SINGLE), ("batch", BATCH)];

impl BenchCase {
    fn new(
        name: impl Into<String>,
        setup: CaseSetup,
        load: CaseLoad,
        beside: BesideProgram,
    ) -> Self {
        Self {
            name: name.into(),
            setup,
            loads: vec![load],
            beside,
            rest_seconds: 0,
            is_quick: false,
        }
    }
}

/// All rows in their order.
pub(super) fn all() -> Vec<BenchCase> {
    let mut cases = throughput();
    for routes in [10, 10_000] {
        for (kind, load) in KINDS {
            let setup = CaseSetup {
                routes: Some(routes),
                ..PLAIN
            };
            let name = format!("routes-{routes}-{kind}");
            cases.push(BenchCase::new(name, setup, load, BesideProgram::Floor));
        }
    }
    let none = CaseSetup {
        routes: Some(0),
        ..PLAIN
    };
    for (kind, load) in KINDS {
        let name = format!("ingress-{kind}");
        cases.push(BenchCase::new(name, none, load, BesideProgram::Bare));
    }
    cases.extend(sizes());
    cases.extend(rates());
    cases.extend(memory());
    for workers in [1, 2] {
        for (kind, load) in KINDS {
            let setup = CaseSetup { workers, ..PLAIN };
            let name = format!("workers-{workers}-{kind}");
            cases.push(BenchCase::new(name, setup, load, BesideProgram::Nothing));
        }
    }
    let hub = CaseSetup {
        is_hub: true,
        ..PLAIN
    };
    let load = CaseLoad {
        events: 200_000,
        ..BATCH
    };
    cases.push(BenchCase::new(
        "hub-batch",
        hub,
        load,
        BesideProgram::Nothing,
    ));
    cases
}

/// One endpoint and three, in memory, on disk and delivered.
fn throughput() -> Vec<BenchCase> {
    let mut cases = Vec::new();
    for (number, endpoints) in [("one", 1), ("three", 3)] {
        for (level, ack) in [
            ("memory", AckMoment::Memory),
            ("durable", AckMoment::Durable),
            ("delivered", AckMoment::Delivered),
        ] {
            if endpoints == 1 && ack == AckMoment::Delivered {
                continue;
            }
            for (kind, load) in KINDS {
                let setup = CaseSetup {
                    endpoints,
                    ack,
                    ..PLAIN
                };
                let name = format!("{number}-{level}-{kind}");
                let mut case = BenchCase::new(name, setup, load, BesideProgram::Floor);
                case.is_quick = true;
                cases.push(case);
            }
        }
    }
    cases
}

/// Bodies of other lengths, one event a request.
fn sizes() -> Vec<BenchCase> {
    let bodies = [
        ("200-B", 200, 150_000),
        ("1-KiB", 1 << 10, 150_000),
        ("16-KiB", 16 << 10, 40_000),
        ("256-KiB", 256 << 10, 3_000),
    ];
    let case = |(name, bytes, events)| {
        let load = CaseLoad {
            events,
            bytes,
            ..SINGLE
        };
        BenchCase::new(format!("body-{name}"), PLAIN, load, BesideProgram::Floor)
    };
    bodies.into_iter().map(case).collect()
}

/// Ages of events at rates that a machine has time for, and at one that it has not.
fn rates() -> Vec<BenchCase> {
    let three = CaseSetup {
        endpoints: 3,
        ..PLAIN
    };
    let at = |load: CaseLoad, events, rate| CaseLoad {
        events,
        pace: LoadPace::Rate(rate),
        ..load
    };
    let warm = |load: CaseLoad| CaseLoad {
        events: load.batch * 200,
        ..load
    };
    let rates = [
        ("rate-2000-batch", BATCH, at(BATCH, 16_000, 2_000)),
        ("rate-2000-single", SINGLE, at(SINGLE, 16_000, 2_000)),
        ("rate-10-single", SINGLE, at(SINGLE, 100, 10)),
    ];
    let mut cases = Vec::new();
    for (name, kind, load) in rates {
        let mut case = BenchCase::new(name, three, load, BesideProgram::Floor);
        case.loads.insert(0, warm(kind));
        cases.push(case);
    }
    for (name, ack) in [
        ("memory", AckMoment::Memory),
        ("durable", AckMoment::Durable),
    ] {
        let twice = CaseLoad {
            pace: LoadPace::Twice(15),
            ..BATCH
        };
        let setup = CaseSetup { ack, ..three };
        let name = format!("overload-{name}");
        let mut case = BenchCase::new(name, setup, twice, BesideProgram::Nothing);
        case.loads.insert(0, BATCH);
        cases.push(case);
    }
    cases
}

/// What a flood and a burst leave in memory.
fn memory() -> Vec<BenchCase> {
    let mut cases = Vec::new();
    for (name, ack) in [
        ("memory", AckMoment::Memory),
        ("durable", AckMoment::Durable),
    ] {
        let setup = CaseSetup {
            endpoints: 3,
            ack,
            ..PLAIN
        };
        let flood = CaseLoad {
            events: 1_000_000,
            ..BATCH
        };
        let name = format!("flood-{name}");
        let mut case = BenchCase::new(name, setup, flood, BesideProgram::Floor);
        case.rest_seconds = 10;
        cases.push(case);
    }
    let hundred = CaseSetup {
        endpoints: 100,
        ..PLAIN
    };
    let small = CaseLoad {
        events: 20_000,
        ..BATCH
    };
    let large = CaseLoad {
        events: 200,
        bytes: 256 << 10,
        ..SINGLE
    };
    let mut burst = BenchCase::new("burst", hundred, small, BesideProgram::Nothing);
    burst.loads.push(large);
    burst.rest_seconds = 30;
    cases.push(burst);
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_pairs_are_rows() {
        let cases = all();
        let names: std::collections::BTreeSet<&str> =
            cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        for (_, first, second) in PAIRS {
            assert!(names.contains(first) && names.contains(second), "{first}");
        }
    }
}
