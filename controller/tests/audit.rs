//! The audit in the log. In a process of its own: what is logged is decided for all of it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use weir_controller::app;
use weir_controller::config::Config;
use weir_proto::wire;
use weir_proto::wire::drain_target::Target;
use weir_proto::wire::operator_client::OperatorClient;
use weir_proto::wire::resource::Kind;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().expect("nobody panicked with it");
        lines.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Gives the lines of the audit: what stands after its name.
    fn audit(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("nobody panicked with it").clone();
        let text = String::from_utf8(bytes).expect("text");
        let lines = text.lines();
        let lines = lines.filter_map(|line| Some(line.split_once("audit: ")?.1.to_owned()));
        lines.collect()
    }
}

fn node(number: usize) -> wire::Resource {
    wire::Resource {
        kind: Some(Kind::Node(wire::Node {
            name: format!("n{number}"),
            ..wire::Node::default()
        })),
        ..wire::Resource::default()
    }
}

fn apply(nodes: std::ops::Range<usize>, dry_run: bool) -> wire::ApplyRequest {
    wire::ApplyRequest {
        resources: nodes.map(node).collect(),
        dry_run,
        ..wire::ApplyRequest::default()
    }
}

#[tokio::test]
async fn every_write_is_a_line_of_the_audit_and_what_changes_nothing_is_none() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer({
            let lines = lines.clone();
            move || lines.clone()
        })
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().to_str().expect("text");
    let config = Config::parse_from([
        "weir-controller",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--data-dir",
        directory,
    ]);
    let running = app::start(config).await.expect("a controller");
    let url = format!("http://{}", running.operator_addr());
    let mut operator = OperatorClient::connect(url).await.expect("a connection");

    operator.apply(apply(10..11, false)).await.expect("written");
    operator
        .apply(apply(10..11, false))
        .await
        .expect("the same");
    operator.apply(apply(0..9, true)).await.expect("tried");
    operator.apply(apply(10..31, false)).await.expect("written");
    let drain = wire::DrainRequest {
        targets: vec![wire::DrainTarget {
            target: Some(Target::Node("n10".to_owned())),
        }],
        drain: None,
    };
    operator.drain(drain).await.expect("drained");
    let delete = wire::DeleteRequest {
        refs: vec![wire::ResourceRef {
            kind: wire::Kind::Node.into(),
            name: "n11".to_owned(),
        }],
        ..wire::DeleteRequest::default()
    };
    operator.delete(delete).await.expect("deleted");
    let labelled = wire::ApplyRequest {
        resources: vec![wire::Resource {
            kind: Some(Kind::Node(wire::Node {
                name: "n12".to_owned(),
                labels: [("pool".to_owned(), "edge".to_owned())].into(),
                ..wire::Node::default()
            })),
            ..wire::Resource::default()
        }],
        ..wire::ApplyRequest::default()
    };
    operator.apply(labelled).await.expect("written");
    let back = wire::RollbackRequest {
        revision: 3,
        ..wire::RollbackRequest::default()
    };
    operator.rollback(back).await.expect("it is known");
    running.stop().await.expect("a clean stop");

    let named: Vec<String> = (11..27).map(|number| format!("nodes[n{number}]")).collect();
    let line = |what: &str, revision: u64, named: &[String], more: usize| {
        format!("written who=anonymous what={what} revision={revision} named={named:?} more={more}")
    };
    let one = |name: &str| [format!("nodes[{name}]")];
    assert_eq!(
        lines.audit(),
        [
            line("apply", 1, &one("n10"), 0),
            line("apply", 2, &named, 4),
            line("drain", 3, &one("n10"), 0),
            line("delete", 4, &one("n11"), 0),
            line("apply", 5, &one("n12"), 0),
            // which nodes there are is left alone
            line("rollback to 3", 6, &one("n12"), 0),
        ]
    );
}
