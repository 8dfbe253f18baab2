//! Turns what the kernel says into words for people.

use nix::errno::Errno;

use super::ipset;
use super::netlink::NlError;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::Problem;

/// Gives the verdict on a request; `explain` may say more of an error number than the system does.
pub(super) fn of(
    answer: Result<(), NlError>,
    explain: impl FnOnce(Errno) -> Option<(String, &'static str)>,
) -> Verdict {
    answer.map_err(|error| match error {
        NlError::Errno(number) => {
            let (cause, field) =
                explain(Errno::from_raw(number)).unwrap_or_else(|| (sentence(number), ""));
            StepError::from(Problem {
                errno: number,
                cause,
                field: field.to_owned(),
            })
        }
        error => StepError::Unknown(error.to_string()),
    })
}

/// Refuses a step on behalf of the kernel.
pub(super) fn refused(errno: Errno, cause: impl Into<String>) -> StepError {
    StepError::from(Problem::new(errno as i32, cause.into()))
}

/// Says that something could not be read.
pub(super) fn unreadable(
    what: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> KernelError {
    KernelError {
        what,
        source: Box::new(source),
    }
}

/// Gives the sentence for an error number, ipset's own included.
pub(super) fn sentence(number: i32) -> String {
    match ipset::explain(number) {
        Some(explanation) => explanation.sentence.to_owned(),
        None => match Errno::from_raw(number) {
            Errno::EPERM => {
                "the kernel does not permit it: the agent needs CAP_NET_ADMIN".to_owned()
            }
            errno => format!("{errno:?}: {}", errno.desc()),
        },
    }
}
