use weir_proto::model::{Affinity, AffinityTimeout, PrefixLength};

use super::super::tests::{range, visit, wanted};
use super::*;

#[test]
fn rules_are_told_as_a_packet_meets_them() {
    let mut wanted = wanted();
    let told = |client: &str, wanted: &Wanted| -> Vec<(RuleKind, String, bool)> {
        let rules = rules(visit(client), wanted).into_iter();
        rules.map(|it| (it.kind, it.words, it.rejects)).collect()
    };
    let lockdown = (
        RuleKind::Lockdown,
        "of 10.1.0.1 only frontends are reached: 10.1.0.1:80/TCP is one, and is let in".to_owned(),
        false,
    );
    let forwarding = (
        RuleKind::Forwarding,
        "masquerade: replies of backends must pass this node".to_owned(),
        false,
    );
    assert_eq!(told("", &wanted), [lockdown.clone(), forwarding.clone()]);
    wanted.service.sources = [range("10.0.0.0/16")].into();
    wanted.service.affinity = Some(Affinity {
        timeout: AffinityTimeout::new(60).expect("a time-out"),
        prefix: PrefixLength::new(Family::V4, 24).expect("a prefix"),
        engine: None,
    });
    let rule = |kind, words: &str, rejects| (kind, words.to_owned(), rejects);
    let affinity = "10.0.0.0/24, which counts as one client, stays with one backend until 60 s after the last connection";
    assert_eq!(
        told("10.0.0.1", &wanted),
        [
            lockdown.clone(),
            rule(RuleKind::SourceRange, "10.0.0.0/16 lets 10.0.0.1 in", false),
            rule(RuleKind::Affinity, affinity, false),
            rule(
                RuleKind::Loopback,
                "10.0.0.1 is a backend: what it sends to 10.0.0.1:80 comes from the node",
                false
            ),
            forwarding.clone(),
        ]
    );
    wanted.loopback.clear();
    wanted.service.affinity = None;
    wanted.service.sources = [range("10.8.0.0/16")].into();
    assert_eq!(
        told("10.0.0.1", &wanted),
        [
            lockdown,
            rule(
                RuleKind::SourceRange,
                "10.0.0.1 is not in 10.8.0.0/16",
                true
            ),
            rule(
                RuleKind::Loopback,
                "10.0.0.1 is a backend, and does not reach itself at 10.0.0.1:80: hairpin is off",
                false
            ),
            forwarding,
        ]
    );
}
