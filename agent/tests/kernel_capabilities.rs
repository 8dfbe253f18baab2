//! The probe of IPVS against a real kernel, each test in a network namespace of its own. Needs root, `ip_vs`, `ipvsadm`,
//! and Debian's kernel: it has every scheduler but twos.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "kernel_codec/netns.rs"]
mod netns;

use std::future::{Future, poll_fn};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::linux::capabilities::{PROBE_MARKS, try_features};
use weir_agent::kernel::linux::ipvs::{Command, Family, Ipvs, Service, ServiceKey};
use weir_proto::model::{Capability, Scheduler};

use netns::sh;

/// Modules are everybody's, whatever their namespace: one test at a time.
static MODULES: Mutex<()> = Mutex::new(());

fn in_new_netns<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let _alone = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    netns::in_new_netns(test);
}

async fn ipvs() -> Ipvs {
    Ipvs::open()
        .await
        .expect("the kernel has no IPVS: load the module ip_vs")
}

fn table() -> String {
    sh("ipvsadm -Sn")
}

fn missing(found: &[Capability]) -> Vec<(&str, &str)> {
    found
        .iter()
        .filter(|found| !found.available)
        .map(|found| (&*found.name, &*found.detail))
        .collect()
}

/// Everything that is tried, in order.
fn tried() -> Vec<String> {
    let schedulers = Scheduler::ALL.iter();
    let schedulers = schedulers.map(|scheduler| format!("scheduler_{scheduler}"));
    let others = [
        "ipv6",
        "persistence_sip",
        "tunnel_ipip",
        "tunnel_gue",
        "tunnel_gre",
        "stats64",
    ];
    schedulers.chain(others.map(str::to_owned)).collect()
}

fn names(found: &[Capability]) -> Vec<String> {
    found.iter().map(|found| found.name.clone()).collect()
}

#[test]
fn the_probe_finds_every_scheduler_but_twos_and_leaves_no_service_behind() {
    in_new_netns(|| async {
        let probed = Linux::open(Vec::new()).await.1;
        let of = |name: &str| probed.iter().find(|found| found.name == name);
        assert!(of("scheduler_mh").is_some_and(|found| found.available && found.optional));
        let optional: Vec<_> = probed
            .iter()
            .filter(|found| found.optional)
            .cloned()
            .collect();
        assert_eq!(
            missing(&optional),
            [(
                "scheduler_twos",
                "load the module ip_vs_twos (CONFIG_IP_VS_TWOS)"
            )]
        );
        let protocols = ["protocol_tcp", "protocol_udp", "protocol_sctp"];
        let others = protocols.into_iter().chain(["conntrack_delete"]);
        let all = tried().into_iter().chain(others.map(str::to_owned));
        assert!(names(&optional).into_iter().eq(all), "{optional:#?}");
        assert_eq!(table(), "");
    });
}

#[test]
fn a_module_that_the_kernel_does_not_load_by_itself_is_asked_for() {
    in_new_netns(|| async {
        let helper = sh("cat /proc/sys/kernel/modprobe");
        let modules = ["ip_vs_mh", "ip_vs_pe_sip"];
        sh("modprobe -a ip_vs_mh ip_vs_pe_sip && modprobe -r ip_vs_mh ip_vs_pe_sip");
        sh("echo > /proc/sys/kernel/modprobe");
        let found = try_features(&mut ipvs().await).await;
        sh(&format!(
            "echo {} > /proc/sys/kernel/modprobe",
            helper.trim()
        ));
        assert_eq!(names(&found), tried());
        let missing: Vec<_> = missing(&found).into_iter().map(|(name, _)| name).collect();
        assert_eq!(missing, ["scheduler_twos"]);
        for module in modules {
            assert!(Path::new("/sys/module").join(module).exists(), "{module}");
        }
        assert_eq!(table(), "");
    });
}

#[test]
fn a_probe_is_few_sends_and_one_dump() {
    in_new_netns(|| async {
        // the modules are loaded, and the one that is not there was looked for
        try_features(&mut ipvs().await).await;
        let mut ipvs = ipvs().await;
        let before = ipvs.counts();
        try_features(&mut ipvs).await;
        let after = ipvs.counts();
        // all marks looked at, services added, backends added, backends read, counters read, services removed
        assert_eq!(
            (after.sends - before.sends, after.dumps - before.dumps),
            (6, 1)
        );
    });
}

#[test]
fn a_probe_in_a_namespace_without_addresses_says_nothing_of_tunnels() {
    in_new_netns(|| async {
        let thread = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .unwrap()
                .block_on(async { try_features(&mut ipvs().await).await })
        });
        let found = thread.join().unwrap();
        let without = tried()
            .into_iter()
            .filter(|name| !name.starts_with("tunnel"));
        assert!(names(&found).into_iter().eq(without), "{found:#?}");
    });
}

#[test]
fn foreign_services_under_the_probes_marks_are_left_alone() {
    in_new_netns(|| async {
        let mut ipvs = ipvs().await;
        let each = u32::try_from(PROBE_MARKS.len()).unwrap() / 4;
        // of every mark but each trial's last: somebody's service in either family
        for mark in PROBE_MARKS.start..PROBE_MARKS.end - each {
            for family in [Family::Inet, Family::Inet6] {
                let service = Service::new(ServiceKey::Fwmark { family, mark }, "rr");
                let added = ipvs.batch(&[Command::NewService(&service)]).await;
                assert!(matches!(added[..], [Ok(())]), "{added:?}");
            }
        }
        let foreign = table();
        assert_eq!(names(&try_features(&mut ipvs).await), tried());
        assert_eq!(table(), foreign);
        for mark in PROBE_MARKS.end - each..PROBE_MARKS.end {
            for family in [Family::Inet, Family::Inet6] {
                let service = Service::new(ServiceKey::Fwmark { family, mark }, "rr");
                let added = ipvs.batch(&[Command::NewService(&service)]).await;
                assert!(matches!(added[..], [Ok(())]), "{added:?}");
            }
        }
        let foreign = table();
        assert_eq!(names(&try_features(&mut ipvs).await), [""; 0]);
        assert_eq!(table(), foreign);
    });
}

#[test]
fn what_a_probe_that_was_cut_off_left_behind_goes_with_the_next() {
    in_new_netns(|| async {
        sh("ipvsadm -A -t 192.0.2.10:80 -s rr && ipvsadm -A -f 7 -s rr");
        let foreign = table();
        let mut left = 0;
        // cut after so many steps; most of them wait for modprobe, when the services are there
        let mut steps = 1;
        while steps < 1_000_000 {
            let mut ipvs = ipvs().await;
            let mut ended = false;
            {
                let mut probe = std::pin::pin!(try_features(&mut ipvs));
                for _ in 0..steps {
                    ended = poll_fn(|cx| Poll::Ready(probe.as_mut().poll(cx).is_ready())).await;
                    if ended {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            let cut = table();
            left += usize::from(cut != foreign);
            assert!(cut.contains(&*foreign), "{cut}");
            if ended {
                assert_eq!(cut, foreign);
                break;
            }
            assert_eq!(names(&try_features(&mut ipvs).await), tried());
            assert_eq!(table(), foreign, "{steps} steps");
            steps += 1 + steps / 2;
        }
        assert!(left > 0, "no cut left anything behind");
    });
}
