//! Hears what the kernel tells of the link of the VIPs.
//!
//! Rules:
//! - It hears from the moment it is opened: what goes while nobody asks waits in the socket.
//! - What may have been missed counts as everything: an overrun, a socket that failed.
//! - What we take away ourselves is no news. The kernel tells of it before it answers the request, so the notices are
//!   there once the answer is.

use super::super::link::Rtnl;
use super::super::link::rtm::{Command, GROUPS, HEED, Notice};
use super::super::netlink::{Listener, NlError, Protocol};
use super::LINK;
use super::gone::{Gone, Seen};
use crate::plan::Scope;

/// The notices of one network namespace.
#[derive(Default)]
pub(super) struct Notices {
    /// `None` before first used and after a failure.
    listener: Option<Listener>,
    /// Whether there was a listener before this one: what went between them nobody heard.
    begun: bool,
    /// Whether `link` is as the kernel has it, as far as it was heard.
    known: bool,
    link: Option<Seen>,
    gone: Gone,
}

impl Notices {
    /// Begins to hear, unless it does.
    pub(super) async fn open(&mut self) -> Result<(), NlError> {
        if self.listener.is_none() {
            self.listener = Some(Listener::open(Protocol::Route, &GROUPS, &HEED)?);
            if self.begun {
                self.gone.may_be_anything();
            }
            self.begun = true;
        }
        if !self.known {
            // whatever becomes of it from now on is heard
            let found = Rtnl::open()?.tunnel(LINK).await?;
            self.link = found.map(|link| Seen {
                index: link.index,
                up: link.up,
            });
            self.known = true;
        }
        Ok(())
    }

    /// Waits until something went that we did not take away, and says where to look. May be dropped at any time.
    pub(super) async fn disturbed(&mut self) -> Scope {
        loop {
            if let Some(scope) = self.gone.take() {
                return scope;
            }
            if self.open().await.is_err() {
                // who asks again tries again
                return std::future::pending().await;
            }
            let Self {
                listener: Some(listener),
                link,
                gone,
                ..
            } = self
            else {
                continue;
            };
            let heard = listener.hear(|message| {
                if let Some(notice) = Notice::decode(&message) {
                    gone.note(notice, link);
                }
            });
            let heard = heard.await;
            self.heard(heard);
        }
    }

    /// Hears what is there, without waiting.
    pub(super) fn catch_up(&mut self) {
        let Self {
            listener: Some(listener),
            known: true,
            link,
            gone,
            ..
        } = self
        else {
            return;
        };
        let heard = listener.queued(|message| {
            if let Some(notice) = Notice::decode(&message) {
                gone.note(notice, link);
            }
        });
        self.heard(heard);
    }

    /// Takes note that a request of ours was granted. Its notices must have been heard.
    pub(super) fn was_ours(&mut self, command: &Command) {
        self.gone.was_ours(command);
    }

    /// Takes note that we took the whole link away.
    pub(super) fn link_was_ours(&mut self) {
        self.catch_up();
        self.gone = Gone::default();
    }

    fn heard(&mut self, outcome: Result<(), NlError>) {
        let Err(error) = outcome else { return };
        self.gone.may_be_anything();
        self.known = false;
        if !matches!(error, NlError::Overrun) {
            self.listener = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[tokio::test]
    async fn what_may_have_been_missed_is_everything() {
        let failures = [NlError::Overrun, NlError::from(io::Error::other("gone"))];
        for error in failures {
            let mut notices = Notices::default();
            notices.heard(Err(error));
            assert_eq!(notices.disturbed().await, Scope::All);
            assert_eq!(notices.gone.take(), None);
        }
    }
}
