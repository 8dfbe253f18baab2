//! What hangs on clocks: how far two are apart, and how long certificates last. PURE.

use std::time::UNIX_EPOCH;

use super::{Finding, Group};

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400 * SECOND_MS;
/// Time enough for whoever looks once a week.
const SOON_MS: u64 = 14 * DAY_MS;
/// Beyond that what was written down by two clocks is hard to put in order.
const APART_MS: u64 = 5 * SECOND_MS;
/// Beyond that a certificate that was just made is not valid yet, and deadlines of drains are far off.
const FAR_APART_MS: u64 = 300 * SECOND_MS;

/// Gives by how many milliseconds the clock of who answered is at least ahead of one's own, or behind it where negative.
/// `date` is the head of that name of the answer (RFC 9110 section 6.6.1), which has whole seconds; the call began and ended at
/// these times of one's own clock. None: it is no date.
pub fn skew_ms(date: &str, began_unix_ms: u64, ended_unix_ms: u64) -> Option<i64> {
    let theirs = httpdate::parse_http_date(date).ok()?;
    let theirs = theirs.duration_since(UNIX_EPOCH).ok()?;
    let earliest = u64::try_from(theirs.as_millis()).ok()?;
    let latest = earliest + SECOND_MS;
    let apart = match (
        earliest.checked_sub(ended_unix_ms),
        began_unix_ms.checked_sub(latest),
    ) {
        (Some(ahead @ 1..), _) => i64::try_from(ahead).ok()?,
        (_, Some(behind @ 1..)) => -i64::try_from(behind).ok()?,
        _ => 0,
    };
    Some(apart)
}

/// Judges how far the clock of the controller is ahead of one's own.
pub fn skew(group: Group, skew_ms: i64) -> Finding {
    let name = "against the controller";
    let apart = skew_ms.unsigned_abs();
    let way = if skew_ms > 0 { "ahead of" } else { "behind" };
    let detail = format!("the controller's is {}s {way} this one", apart / SECOND_MS);
    let advice = "let chrony or systemd-timesyncd set both clocks";
    if apart >= FAR_APART_MS {
        let why = "certificates and deadlines of drains go wrong";
        group.failed(name, format!("{detail}: {why}"), advice)
    } else if apart >= APART_MS {
        group.warning(name, detail, advice)
    } else {
        group.fine(name, "less than 5s apart")
    }
}

/// Judges how long a certificate lasts, and `advice` says how another one comes in its place.
pub fn certificate(group: Group, name: &str, times: [u64; 2], advice: &str) -> Finding {
    let [expires, now] = times;
    match expires.checked_sub(now) {
        None | Some(0) => {
            let days = (now - expires) / DAY_MS;
            group.failed(name, format!("expired {days} days ago"), advice)
        }
        Some(left) if left < SOON_MS => {
            let detail = format!("expires in {} days", left / DAY_MS);
            group.warning(name, detail, advice)
        }
        Some(left) => group.fine(name, format!("{} days left", left / DAY_MS)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    const DATE: &str = "Sun, 22 Nov 2026 19:00:00 GMT";
    const AT: u64 = 1_795_374_000_000;

    #[test]
    fn clocks_are_apart_by_what_neither_whole_seconds_nor_the_way_explain() {
        for (began, ended, apart) in [
            (AT, AT, Some(0)),
            (AT + 900, AT + 950, Some(0)),
            (AT - 40, AT + 3_000, Some(0)),
            (AT + 7_000, AT + 7_010, Some(-6_000)),
            (AT - 7_000, AT - 6_990, Some(6_990)),
        ] {
            assert_eq!(skew_ms(DATE, began, ended), apart);
        }
        assert_eq!(skew_ms("yesterday", AT, AT), None);
    }

    #[test]
    fn clocks_that_are_apart_are_told_and_far_apart_fail() {
        let of = |ms| skew(Group("clock"), ms);
        assert_eq!(of(-4_999).outcome, Outcome::Fine);
        let finding = of(-6_000);
        let told = (finding.outcome, finding.detail.as_str());
        assert_eq!(
            told,
            (Outcome::Warning, "the controller's is 6s behind this one")
        );
        assert_eq!(of(300_000).outcome, Outcome::Failed);
    }

    #[test]
    fn a_certificate_is_told_of_two_weeks_before_it_expires() {
        let now = 1_000 * DAY_MS;
        let of = |expires| certificate(Group("certificates"), "own", [expires, now], "issue one");
        for (expires, outcome, detail) in [
            (now + SOON_MS, Outcome::Fine, "14 days left"),
            (now + SOON_MS - 1, Outcome::Warning, "expires in 13 days"),
            (now, Outcome::Failed, "expired 0 days ago"),
            (now - 3 * DAY_MS, Outcome::Failed, "expired 3 days ago"),
        ] {
            let finding = of(expires);
            assert_eq!(
                (finding.outcome, finding.detail.as_str()),
                (outcome, detail)
            );
        }
    }
}
