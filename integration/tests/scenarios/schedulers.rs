//! Each scheduler picks backends as the kernel's `net/netfilter/ipvs/ip_vs_*.c` defines it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use weir_integration::client::Held;
use weir_integration::farm::UDP_PORT;

use crate::farm::{
    Picked, ask, asked, backend, backends, frontend, held, hold, on_a_farm, service, source, tally,
    who,
};
use crate::site::Site;

/// Makes the service of one scheduler.
fn by(scheduler: &str, at: &str, weights: &[u32]) -> String {
    held(scheduler, at, &format!("scheduler: {scheduler}\n"), weights)
}

/// Holds so many connections and fails unless the backends have these shares of them, from backend 1 on.
fn shares(site: &Site, at: &str, wanted: &[usize]) -> Result<Vec<Held>> {
    let held = hold(site, at, wanted.iter().sum())?;
    let picked = who(&held)?;
    let shares = (1..).zip(wanted.iter().copied());
    ensure!(
        tally(&picked) == shares.filter(|(_, share)| *share > 0).collect(),
        "{at}: {picked:?}, expected shares {wanted:?}"
    );
    Ok(held)
}

/// Gives up the connections to one backend.
fn leave(held: &mut Vec<Held>, backend: u8) -> Result<()> {
    let picked = who(held)?;
    let mut of = picked.iter();
    held.retain(|_| of.next() != Some(&backend));
    Ok(())
}

/// Fails unless the next connections go to these backends, in this order.
fn next(site: &Site, at: &str, wanted: &[u8]) -> Result<Vec<Held>> {
    let held = hold(site, at, wanted.len())?;
    let picked = who(&held)?;
    ensure!(picked == wanted, "{at}: {picked:?}, expected {wanted:?}");
    Ok(held)
}

#[test]
fn schedulers_that_count_spread_by_turn_by_connections_and_by_weight() -> Result<()> {
    on_a_farm(|site| {
        let [rr, wrr, lc, wlc, sed, nq] =
            [1, 2, 3, 4, 5, 6].map(|port| format!("10.100.0.1:{port}"));
        let weighted = [1, 2, 3];
        site.apply(
            &[
                by("rr", &rr, &weighted),
                by("wrr", &wrr, &weighted),
                by("lc", &lc, &weighted),
                by("wlc", &wlc, &weighted),
                by("sed", &sed, &weighted),
                by("nq", &nq, &weighted),
            ]
            .concat(),
        )?;
        // by turn: weights count for wrr only
        shares(site, &rr, &[2, 2, 2])?;
        shares(site, &wrr, &[2, 4, 6])?;
        // by connections, and what is given up is made up for
        let mut all = shares(site, &lc, &[2, 2, 2])?;
        leave(&mut all, 2)?;
        next(site, &lc, &[2, 2])?;
        let mut all = shares(site, &wlc, &[2, 4, 6])?;
        leave(&mut all, 1)?;
        next(site, &wlc, &[1, 1])?;
        // the connection to come counts: 1/1, 1/2, 1/3, then 1/1, 1/2, 2/3, then 1/1, 2/2, 2/3
        let mut all = next(site, &sed, &[3, 2, 3])?;
        all.extend(hold(site, &sed, 3)?);
        ensure!(
            tally(&who(&all)?) == [(1, 1), (2, 2), (3, 3)].into(),
            "sed: {:?}",
            who(&all)?
        );
        // an idle one first, then as sed
        let _idle = shares(site, &nq, &[1, 1, 1])?;
        next(site, &nq, &[3])?;
        Ok(())
    })
}

#[test]
fn failover_overflow_and_locality_stay_with_a_backend_while_they_may() -> Result<()> {
    on_a_farm(|site| {
        let [fo, ovf, lblc, lblcr] = [1, 2, 3, 4].map(|port| format!("10.100.0.1:{port}"));
        site.apply(
            &[
                by("fo", &fo, &[1, 2, 3]),
                by("ovf", &ovf, &[1, 2, 3]),
                by("lblc", &lblc, &[1, 1, 1]),
                by("lblcr", &lblcr, &[1, 1, 1]),
            ]
            .concat(),
        )?;
        // the heaviest takes all, while it takes any
        next(site, &fo, &[3, 3, 3, 3, 3])?;
        site.apply(&by("fo", &fo, &[1, 2, 0]))?;
        next(site, &fo, &[2, 2, 2])?;
        site.apply(&by("fo", &fo, &[1, 2, 3]))?;
        next(site, &fo, &[3, 3, 3])?;
        // the heaviest that has no more connections than its weight
        let _full = next(site, &ovf, &[3, 3, 3, 3, 2, 2, 2, 1, 1])?;
        let refused = hold(site, &ovf, 1);
        ensure!(refused.is_err(), "ovf: {:?}", who(&refused?)?);
        // one destination stays with one backend, until that has more connections than its weight and another is idle
        for (at, replicated) in [(&lblc, false), (&lblcr, true)] {
            let brief = (0..6).map(|_| who(&hold(site, at, 1)?));
            let brief: Vec<Vec<u8>> = brief.collect::<Result<_>>()?;
            let [first] = brief[0][..] else {
                bail!("{at}: {brief:?}")
            };
            ensure!(brief.iter().all(|one| *one == [first]), "{at}: {brief:?}");
            let mut all = next(site, at, &[first, first])?;
            all.extend(hold(site, at, 1)?);
            let second = who(&all)?[2];
            ensure!(second != first, "{at}: {:?}", who(&all)?);
            // then it has moved there; with replication both are its own, and the less loaded counts
            leave(&mut all, first)?;
            next(site, at, &[if replicated { first } else { second }])?;
        }
        Ok(())
    })
}

/// Where requests from addresses of the client go: `sources` of them, one each.
fn map(site: &Site, at: &str, sources: u16) -> Result<Vec<Picked>> {
    let sources: Vec<_> = (0..sources).map(source).collect();
    ask(site, at, &sources)
}

/// Fails unless every request is answered, by more than one backend.
fn spread(picked: &[Picked]) -> Result<()> {
    let backends: BTreeSet<&Picked> = picked.iter().collect();
    ensure!(
        picked.iter().all(Result::is_ok) && backends.len() > 1,
        "{picked:?}"
    );
    Ok(())
}

#[test]
fn hashing_schedulers_keep_clients_or_destinations_and_leave_a_backend_of_weight_0_by_their_flags()
-> Result<()> {
    const SOURCES: u16 = 24;
    on_a_farm(|site| {
        let vips = (1..=8).map(|vip| format!("10.100.1.{vip}:53"));
        let vips: Vec<String> = vips.collect();
        let frontends: String = vips.iter().map(|vip| frontend(vip, "UDP")).collect();
        let dh = service(
            "dh",
            &frontends,
            "scheduler: dh\n",
            &backends(UDP_PORT, &[1; 3]),
        );
        let hash = |scheduler: &str, flags: &str, port: u16, second: u32| {
            let spec = format!("scheduler: {scheduler}\n{flags}");
            let name = format!("{scheduler}-{port}");
            let at = format!("10.100.0.1:{port}");
            asked(&name, &at, &spec, &[1, second, 1])
        };
        const STRICT: &str = "schedulerFlags: {fallback: false}\n";
        const PORT: &str = "schedulerFlags: {port: true}\n";
        let with_second = |second: u32| {
            [
                hash("sh", "", 1, second),
                hash("sh", STRICT, 2, second),
                hash("sh", PORT, 3, second),
                hash("mh", "", 11, second),
                hash("mh", STRICT, 12, second),
                hash("mh", PORT, 13, second),
            ]
            .concat()
        };
        site.apply(&(with_second(1) + &dh))?;

        let mut by_destination = Vec::new();
        for vip in &vips {
            let picked = map(site, vip, 6)?;
            ensure!(
                picked.iter().all(|one| *one == picked[0]),
                "dh {vip}: {picked:?}"
            );
            by_destination.push(picked[0].clone());
        }
        spread(&by_destination).context("dh")?;

        let mut before = Vec::new();
        for port in [1, 2, 11, 12] {
            let at = format!("10.100.0.1:{port}");
            let picked = map(site, &at, SOURCES)?;
            spread(&picked).with_context(|| at.clone())?;
            ensure!(
                map(site, &at, SOURCES)? == picked,
                "{at}: {picked:?} at first"
            );
            before.push((at, picked));
        }
        for at in ["10.100.0.1:3", "10.100.0.1:13"] {
            let picked = ask(site, at, &[source(1); 32])?;
            spread(&picked).context("one client, by port")?;
        }

        site.apply(&with_second(0))?;
        for ((at, before), strict) in before.iter().zip([false, true, false, true]) {
            let after = map(site, at, SOURCES)?;
            let pairs: Vec<_> = before.iter().zip(&after).collect();
            for (was, is) in &pairs {
                let good = match (**was == Ok(2), strict) {
                    (false, _) => was == is,
                    (true, false) => matches!(is, Ok(1 | 3)),
                    (true, true) => is.is_err(),
                };
                ensure!(good, "{at}, strict: {strict}: {pairs:?}");
            }
        }

        // one that is taken out is nobody's, fallback or not
        let second = format!("{},", backend(2));
        let with_second = with_second(1);
        let without = with_second.lines().filter(|line| !line.contains(&second));
        let without: String = without.map(|line| format!("{line}\n")).collect();
        site.apply(&without)?;
        for (at, before) in &before {
            let after = map(site, at, SOURCES)?;
            let good = |is: &Picked| matches!(is, Ok(1 | 3));
            ensure!(
                after.iter().all(good),
                "{at}: {after:?}, {before:?} at first"
            );
        }
        Ok(())
    })
}

#[test]
fn mh_keeps_nine_flows_of_ten_where_they_are_when_one_of_ten_backends_leaves() -> Result<()> {
    const FLOWS: u16 = 400;
    on_a_farm(|site| {
        let at = "10.100.0.1:53";
        let mh = asked("mh", at, "scheduler: mh\n", &[1; 10]);
        site.apply(&mh)?;
        let before = map(site, at, FLOWS)?;
        spread(&before)?;
        let leaver: String = mh
            .lines()
            .filter(|line| line.contains("10.0.0.101,"))
            .collect();
        site.apply(&mh.replace(&format!("{leaver}\n"), ""))?;
        let after = map(site, at, FLOWS)?;
        // those of the one that left go elsewhere, whatever the scheduler
        let stayed: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(was, _)| **was != Ok(5))
            .collect();
        let kept = stayed.iter().filter(|(was, is)| was == is).count();
        ensure!(
            stayed.len() < usize::from(FLOWS) && kept * 10 >= stayed.len() * 9,
            "{kept} of {} flows kept: {stayed:?}",
            stayed.len()
        );
        ensure!(
            after.iter().all(|one| one.is_ok() && *one != Ok(5)),
            "{after:?}"
        );
        Ok(())
    })
}
