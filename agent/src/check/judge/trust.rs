//! Certificates, clocks, and the controller where one is named. PURE.

use weir_proto::checkup::{self, Finding, Group};

use crate::check::facts::{Called, Credentials, Facts};

const CERTIFICATES: Group = Group("certificates");
const CLOCK: Group = Group("clock");
const CONTROLLER: Group = Group("controller");
/// 1 January 2026: a clock before that was not set since the machine was switched on.
const PLAUSIBLE_UNIX_MS: u64 = 1_767_225_600_000;
/// Who beside the owner may do something with a file.
const OTHERS: u32 = 0o077;

/// Judges by what the controller is called.
pub(super) fn certificates(facts: &Facts) -> Vec<Finding> {
    match &facts.credentials {
        Credentials::Unasked => {
            let why = "no controller and no certificate is named";
            vec![CERTIFICATES.skipped("files", why)]
        }
        Credentials::Plaintext => {
            let detail = "none: the controller is called by http://";
            vec![CERTIFICATES.fine("files", detail)]
        }
        Credentials::Flags(bad) => {
            let advice = "weirctl pki issue node NAME makes what is missing";
            let bad = bad.iter();
            bad.map(|bad| CERTIFICATES.failed("flags", bad, advice))
                .collect()
        }
        Credentials::Unusable(why) => {
            let advice = "weirctl pki issue node NAME makes a certificate and its key; all three are PEM, and this user must be \
                          able to read them";
            vec![CERTIFICATES.failed("files", why, advice)]
        }
        Credentials::Certificate {
            identity,
            begins_unix_ms,
            expires_unix_ms,
            key_mode,
        } => {
            let now = facts.now_unix_ms;
            let renew = "put another in its place: it is read when the agent connects anew";
            let mut findings = vec![CERTIFICATES.fine("files", format!("that of {identity}"))];
            findings.push(if now < *begins_unix_ms {
                let advice = "set the clock, or wait";
                CERTIFICATES.failed("valid", "not yet", advice)
            } else {
                checkup::certificate(CERTIFICATES, "valid", [*expires_unix_ms, now], renew)
            });
            findings.push(match key_mode & OTHERS {
                0 => CERTIFICATES.fine("key", "readable by its owner alone"),
                _ => CERTIFICATES.warning(
                    "key",
                    format!("mode {:04o}: others may read it", key_mode & 0o7777),
                    "chmod 600",
                ),
            });
            findings
        }
    }
}

/// Judges the clock.
pub(super) fn clock(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![match facts.now_unix_ms {
        ..PLAUSIBLE_UNIX_MS => CLOCK.failed(
            "this machine",
            "it was never set",
            "let chrony or systemd-timesyncd set it",
        ),
        _ => CLOCK.fine("this machine", "plausible"),
    }];
    findings.push(match facts.controller {
        Called::Answered {
            skew_ms: Some(skew),
        } => checkup::skew(CLOCK, skew),
        Called::Answered { skew_ms: None } => {
            CLOCK.skipped("against the controller", "it does not tell the time")
        }
        Called::Unasked | Called::Unreached(_) => {
            CLOCK.skipped("against the controller", "none answered")
        }
    });
    findings
}

/// Judges whether the controller is there.
pub(super) fn controller(facts: &Facts) -> Vec<Finding> {
    vec![match &facts.controller {
        Called::Unasked => CONTROLLER.skipped("reached", "--controller is not given"),
        Called::Unreached(why) => CONTROLLER.failed(
            "reached",
            why,
            "check that weir-controller runs there, that --controller names it, and that nothing on the way stops TCP",
        ),
        Called::Answered { .. } => CONTROLLER.fine("reached", "it answers"),
    }]
}
