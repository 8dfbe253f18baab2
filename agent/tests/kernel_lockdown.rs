//! Lockdowns on the real kernel. Needs root, ipset and iptables.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "kernel_codec/netns.rs"]
mod netns;

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, TcpStream};

use weir_agent::kernel::Kernel as _;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Guard, Key, Object, Scope, Step, Unit};
use weir_proto::model::Family;

use self::netns::{in_new_netns, sh};

/// What somebody else may do to a lockdown's rules.
const BREACHES: [&str; 3] = [
    "ip*tables-legacy -F INPUT",
    "ip*tables-legacy -D WEIR-LOCKDOWN 5",
    "ip*tables-legacy -I WEIR-LOCKDOWN 1 -j ACCEPT",
];

#[test]
fn a_lockdown_counts_what_it_rejects_and_is_made_whole_again() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let base = Scope::Units([Unit::Base].into());
        for (family, address) in [
            (Family::V4, IpAddr::from([10, 100, 0, 1])),
            (Family::V6, "fd64::1".parse().unwrap()),
        ] {
            sh(&format!("ip addr add {address} dev lo nodad"));
            let lockdown = Key::Lockdown(family);
            let keys = [lockdown, Key::Guard(Guard::Vip(address))];
            let object = Object::Present;
            let steps = keys.map(|key| Step::Add {
                key,
                object: object.clone(),
            });
            assert_eq!(kernel.apply(&steps).await, [Ok(()), Ok(())]);
            let listener = TcpListener::bind((address, 0)).unwrap();
            let target = listener.local_addr().unwrap();
            for _ in 0..3 {
                let refused = TcpStream::connect(target).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            }
            let table = kernel.read(&base).await.unwrap();
            assert_eq!(table.get(&lockdown), Some(&Object::Present));
            assert_eq!(kernel.rejected().get(&family), Some(&3));

            for breach in BREACHES {
                sh(&breach.replace("ip*", if family == Family::V4 { "ip" } else { "ip6" }));
                let table = kernel.read(&base).await.unwrap();
                let broken = Object::Value("not whole".to_owned());
                assert_eq!(table.get(&lockdown), Some(&broken), "{breach}");
                let repair = Step::Edit {
                    key: lockdown,
                    object: object.clone(),
                };
                assert_eq!(kernel.apply(&[repair]).await, [Ok(())], "{breach}");
                let table = kernel.read(&base).await.unwrap();
                assert_eq!(table.get(&lockdown), Some(&object), "{breach}");
                assert!(TcpStream::connect(target).is_err(), "{breach}");
            }
        }
        // packets of other families do not count
        assert_eq!(kernel.rejected().len(), 2);
    });
}

#[test]
fn a_chain_or_a_set_by_our_name_that_somebody_made_is_refused_and_stays() {
    in_new_netns(|| async {
        let (mut kernel, _) = Linux::open(Vec::new()).await;
        let add = Step::Add {
            key: Key::Lockdown(Family::V4),
            object: Object::Present,
        };
        for (theirs, look, away) in [
            (
                "iptables-legacy -N WEIR-LOCKDOWN; iptables-legacy -A WEIR-LOCKDOWN -s 192.0.2.1 -j ACCEPT",
                "iptables-legacy -S; ipset list -n",
                "iptables-legacy -F WEIR-LOCKDOWN; iptables-legacy -X WEIR-LOCKDOWN",
            ),
            (
                "ipset create WEIR-GUARDED hash:mac; ipset add WEIR-GUARDED 02:00:00:00:00:01",
                "iptables-legacy -S; ipset save",
                "ipset destroy WEIR-GUARDED",
            ),
        ] {
            sh(theirs);
            let before = sh(look);
            let verdict = kernel.apply(std::slice::from_ref(&add)).await.remove(0);
            let cause = verdict.unwrap_err().to_string();
            assert!(
                cause.contains("not ours") || cause.contains("not like ours"),
                "{cause}"
            );
            assert_eq!(sh(look), before);
            sh(away);
        }
    });
}
