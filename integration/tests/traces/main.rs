//! Traces, as a collector is told them by the programs: one for each change, from the operator's hand to each kernel; and what
//! a collector that is away or hangs costs. Needs no kernel: the agents have theirs in memory.

mod collector;
mod fleet;
mod tree;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use collector::{Broken, Collector, Span};
use fleet::{Fleet, NODES, PATIENCE, service, threads, weirctl};
use tonic::Request;
use weir_integration::eventually::eventually;
use weir_proto::wire;
use weir_proto::wire::operator_client::OperatorClient;

/// A change that `weirctl` makes.
const APPLIED: &str = include_str!("applied.txt");
/// A change by somebody who names no trace: it begins at the controller.
const BEGUN: &str = include_str!("begun.txt");
/// What sends spans, and is not there where none are sent.
const THREAD: &str = "weir-spans";
/// A trace of somebody else's, and the span in it that calls.
const OUTSIDE: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
/// So that a test need not wait for others to come before spans go.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "20");

/// Waits until a trace is told as it must be.
fn eventually_told(collector: &Collector, trace: &str, wanted: &str) -> Result<()> {
    eventually("the whole trace is told", PATIENCE, || {
        let found = tree::tree(&collector.spans(), trace);
        ensure!(found == wanted, "wanted:\n{wanted}found:\n{found}");
        Ok(())
    })
}

/// Finds the only span of that name without a parent, among those that came later.
fn root(collector: &Collector, name: &str, before: &BTreeSet<String>) -> Result<Span> {
    eventually("a trace is begun", PATIENCE, || {
        let spans = collector.spans().into_iter();
        let mut roots = spans.filter(|span| {
            span.name == name && span.parent.is_empty() && !before.contains(&span.id)
        });
        let root = roots.next().with_context(|| format!("no root {name}"))?;
        ensure!(roots.next().is_none(), "more than one root {name}");
        Ok(root)
    })
}

fn ids(collector: &Collector) -> BTreeSet<String> {
    collector.spans().into_iter().map(|span| span.id).collect()
}

#[test]
fn a_change_is_one_trace_from_the_operators_hand_to_each_nodes_kernel() -> Result<()> {
    let collector = Collector::start()?;
    let url = collector.url();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), SOON];
    let fleet = Fleet::start(&environment)?;

    // whoever names no trace: it begins where the change is accepted
    fleet.apply(&[], 1, &["--wait"])?;
    let begun = root(&collector, "weir.v1.Operator/Apply", &BTreeSet::new())?;
    eventually_told(&collector, &begun.trace, BEGUN)?;

    let before = ids(&collector);
    fleet.apply(&environment, 2, &[])?;
    let applied = root(&collector, "weirctl apply", &before)?;
    eventually_told(&collector, &applied.trace, APPLIED)?;

    for (name, daemon) in fleet.daemons() {
        let threads = threads(daemon)?;
        let senders = threads.iter().filter(|thread| *thread == THREAD).count();
        assert_eq!(senders, 1, "{name}: {threads:?}");
    }
    fleet.terminate()?;
    // nobody who only looked, and no stream of an agent, is a trace
    let roots = collector.spans().into_iter();
    let roots = roots.filter(|span| span.parent.is_empty());
    let roots: Vec<String> = roots.map(|span| span.name).collect();
    assert_eq!(roots, ["weir.v1.Operator/Apply", "weirctl apply"]);
    Ok(())
}

#[test]
fn a_change_from_outside_goes_on_in_the_trace_that_it_names() -> Result<()> {
    let collector = Collector::start()?;
    let url = collector.url();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), SOON];
    let fleet = Fleet::start(&environment)?;
    let (trace, caller) = OUTSIDE;
    let traceparent = format!("00-{trace}-{caller}-01");

    let resources = weir_controller::ctl::read_manifest(&service(1));
    let resources = resources.map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let mut request = Request::new(wire::ApplyRequest {
        resources,
        ..wire::ApplyRequest::default()
    });
    let header = traceparent.parse().context("a header")?;
    request.metadata_mut().insert("traceparent", header);
    let address = format!("http://{}", fleet.address);
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut operator = OperatorClient::connect(address).await?;
        operator.apply(request).await.context("applying")
    })?;
    eventually_told(&collector, trace, BEGUN)?;
    let spans = collector.spans();
    let call = spans
        .iter()
        .find(|span| span.trace == trace && span.kind == 2);
    assert_eq!(call.map(|span| &*span.parent), Some(caller));

    // weirctl is told it by its environment
    let (trace, caller) = ("1af7651916cd43dd8448eb211c80319c", "c7ad6b7169203331");
    let traceparent = format!("00-{trace}-{caller}-01");
    let environment = [
        environment[0],
        environment[1],
        ("TRACEPARENT", &*traceparent),
    ];
    fleet.apply(&environment, 2, &[])?;
    eventually_told(&collector, trace, APPLIED)?;
    let spans = collector.spans();
    let command = spans
        .iter()
        .find(|span| span.trace == trace && span.kind == 3);
    assert_eq!(command.map(|span| &*span.parent), Some(caller));
    fleet.terminate()?;
    Ok(())
}

#[test]
fn the_environment_says_who_is_told_what_of_whom() -> Result<()> {
    let collector = Collector::start()?;
    let url = collector.url();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=no,deployment.environment=test",
        ),
        ("OTEL_SERVICE_NAME", "edge"),
        SOON,
    ];
    let sampled_out = [&environment[..], &[("OTEL_TRACES_SAMPLER", "always_off")]].concat();
    let fleet = Fleet::start(&environment)?;
    fleet.apply(&sampled_out, 1, &["--wait"])?;
    fleet.apply(&environment, 2, &["--wait"])?;
    fleet.terminate()?;
    let spans = collector.spans();
    let told = |name: &str| -> BTreeSet<&str> {
        let told = spans.iter().map(|span| span.resource.get(name));
        told.map(|value| value.map_or("", String::as_str)).collect()
    };
    assert_eq!(told("service.name"), BTreeSet::from(["edge"]));
    assert_eq!(told("deployment.environment"), BTreeSet::from(["test"]));
    assert_eq!(
        told("service.instance.id"),
        BTreeSet::from(["", NODES[0], NODES[1]])
    );
    let versions = told("service.version");
    assert_eq!(versions, BTreeSet::from([env!("CARGO_PKG_VERSION")]));
    // what was not sampled where it began is not told by anybody further on
    let traces: BTreeSet<&str> = spans.iter().map(|span| &*span.trace).collect();
    assert_eq!(traces.len(), 1, "{spans:#?}");
    let authorized: BTreeSet<String> = collector.authorized().into_iter().collect();
    assert_eq!(authorized, BTreeSet::from(["Basic abc".to_owned()]));
    Ok(())
}

#[test]
fn a_command_that_is_refused_says_so_in_its_trace() -> Result<()> {
    let collector = Collector::start()?;
    let url = collector.url();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), SOON];
    let fleet = Fleet::start(&[])?;
    let refused = weirctl(
        fleet.address,
        &environment,
        &["delete", "service", "nowhere"],
        fleet.dir.path(),
    );
    assert!(refused.is_err(), "{refused:?}");
    let command = root(&collector, "weirctl delete", &BTreeSet::new())?;
    assert!(
        command
            .failed
            .as_ref()
            .is_some_and(|why| why.contains("nowhere")),
        "{command:?}"
    );
    fleet.terminate()?;
    Ok(())
}

/// Changes go on, daemons end, and each says in one line that its spans are not taken.
fn costs_nothing(broken: Broken) -> Result<()> {
    let url = broken.url()?;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        SOON,
    ];
    let fleet = Fleet::start(&environment)?;
    for weight in 1..=10 {
        let said = fleet.apply(&environment, weight, &["--wait"])?;
        let words = String::from_utf8_lossy(&said.stderr);
        ensure!(words.is_empty(), "{broken:?}: weirctl says {words}");
    }
    for (name, _) in fleet.daemons() {
        eventually("a line says that spans are not taken", PATIENCE, || {
            let log = fleet::log(&fleet.dir, name)?;
            let lines = log.lines();
            let told = lines.filter(|line| line.contains("spans cannot be sent"));
            let told: Vec<&str> = told.collect();
            ensure!(told.len() == 1, "{broken:?}, {name}: {told:#?}");
            Ok(())
        })?;
    }
    fleet.terminate()?;
    Ok(())
}

#[test]
fn a_collector_that_is_not_there_costs_nothing() -> Result<()> {
    costs_nothing(Broken::Absent)
}

#[test]
fn a_collector_that_never_answers_costs_nothing() -> Result<()> {
    costs_nothing(Broken::Silent)
}

#[test]
fn a_collector_that_reads_nothing_costs_nothing() -> Result<()> {
    costs_nothing(Broken::Deaf)
}

#[test]
fn a_collector_that_hangs_for_as_long_as_it_may_holds_up_no_end() -> Result<()> {
    // nothing is given up before the time that the specification has: 10 s for a try, 30 s for all of them
    let url = Broken::Deaf.url()?;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), SOON];
    let fleet = Fleet::start(&environment)?;
    fleet.apply(&environment, 1, &["--wait"])?;
    let dir = fleet.terminate()?;
    for name in ["weir-controller", NODES[0], NODES[1]] {
        let log = fleet::log(&dir, name)?;
        assert!(
            log.ends_with("stopping without waiting for it\n"),
            "{name}: {log}"
        );
    }
    Ok(())
}

#[test]
fn where_nothing_asks_for_spans_nothing_runs_for_them() -> Result<()> {
    let collector = Collector::start()?;
    let url = collector.url();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url);
    for environment in [
        &[][..],
        &[endpoint, ("OTEL_SDK_DISABLED", "true")],
        &[endpoint, ("OTEL_TRACES_EXPORTER", "none")],
    ] {
        let fleet = Fleet::start(environment)?;
        fleet.apply(environment, 1, &["--wait"])?;
        for (name, daemon) in fleet.daemons() {
            let threads = threads(daemon)?;
            let sends = threads.iter().any(|thread| thread == THREAD);
            assert!(!sends, "{environment:?}, {name}: {threads:?}");
        }
        fleet.terminate()?;
    }
    assert_eq!(collector.spans(), []);
    assert_eq!(collector.authorized(), [""; 0]);
    Ok(())
}

#[test]
fn a_collector_that_cannot_be_spoken_to_is_told_and_the_programs_run_without() -> Result<()> {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let why = "OTEL_EXPORTER_OTLP_PROTOCOL=\"http/protobuf\": spans can be sent by grpc alone";
    let fleet = Fleet::start(&environment)?;
    let said = fleet.apply(&environment, 1, &["--wait"])?;
    assert_eq!(
        String::from_utf8_lossy(&said.stderr),
        format!("weirctl: no spans are sent: {why}\n")
    );
    for (name, _) in fleet.daemons() {
        let log = fleet::log(&fleet.dir, name)?;
        let told = log
            .lines()
            .filter(|line| line.contains("no spans are sent"));
        let told: Vec<&str> = told.collect();
        assert!(
            matches!(&told[..], [line] if line.contains(why)),
            "{name}: {log}"
        );
    }
    fleet.terminate()?;
    Ok(())
}
