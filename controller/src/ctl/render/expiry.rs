//! When certificates expire, in words. PURE.

use std::time::Duration;

use weir_proto::wire;

use super::human;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// From then on it is told: time enough for whoever looks once a week.
const SOON_MS: u64 = 14 * DAY_MS;

/// Gives what is left of a certificate, in whole days while there are any: `89d`, `23h59m`, `expired`.
pub(super) fn left(expires: u64, now: u64) -> String {
    match expires.saturating_sub(now) {
        0 => "expired".to_owned(),
        left if left >= DAY_MS => format!("{}d", left / DAY_MS),
        left => human(Duration::from_millis(left)),
    }
}

/// Says when a certificate expires: `expires in 89d`, `expired 2d ago`.
pub(super) fn when(expires: u64, now: u64) -> String {
    match now.checked_sub(expires).map(Duration::from_millis) {
        Some(ago) => format!("expired {} ago", human(ago)),
        None => format!("expires in {}", left(expires, now)),
    }
}

/// Says whose certificate it is that expires, too.
pub(super) fn phrase(expires: u64, now: u64) -> String {
    format!("its certificate {}", when(expires, now))
}

/// Says that the controller is soon without a certificate; none: it is not.
pub(super) fn of_controller(expires: u64, now: u64) -> Option<String> {
    let phrase = phrase(expires, now);
    is_soon(expires, now)
        .then(|| format!("{phrase}; put another in its place: whoever connects then meets that"))
}

/// Says that a node is soon without a certificate, or is; none: it is not, or it is not known.
pub(super) fn of_node(node: &wire::NodeState, now: u64) -> Option<String> {
    let expires = known(node)?;
    let phrase = phrase(expires, now);
    is_soon(expires, now).then(|| {
        format!("{phrase}; put another in its place: the agent takes it when it connects anew")
    })
}

/// Gives when the certificate of a node's agent expires; none: it has none, or it is not known.
pub(super) fn known(node: &wire::NodeState) -> Option<u64> {
    let expires = node.certificate_expires_unix_ms;
    (expires > 0).then_some(expires)
}

fn is_soon(expires: u64, now: u64) -> bool {
    expires.saturating_sub(now) < SOON_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_days_and_from_two_weeks_on_as_a_warning() {
        let now = 1_000 * DAY_MS;
        let node = |certificate_expires_unix_ms| wire::NodeState {
            certificate_expires_unix_ms,
            ..wire::NodeState::default()
        };
        for (expires, short, warns) in [
            (now + 90 * DAY_MS, "90d", None),
            (now + SOON_MS, "14d", None),
            (
                now + SOON_MS - 1,
                "13d",
                Some("its certificate expires in 13d"),
            ),
            (now + 3_600_000, "1h", Some("its certificate expires in 1h")),
            (now, "expired", Some("its certificate expired 0s ago")),
            (
                now - 2 * DAY_MS,
                "expired",
                Some("its certificate expired 2d ago"),
            ),
        ] {
            assert_eq!(left(expires, now), short);
            let how = "; put another in its place: the agent takes it when it connects anew";
            let warns = warns.map(|warns| format!("{warns}{how}"));
            assert_eq!(of_node(&node(expires), now), warns);
        }
        assert_eq!(of_node(&node(0), now), None, "it has none");
    }
}
