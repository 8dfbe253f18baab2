//! How long ago the controller was last heard.

use std::time::Duration;

use tokio::time::Instant;

/// When the controller was last heard. A stream on which it is not heard ends by its keepalive, so one that is open is one
/// that it is heard on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Contact {
    /// Not since the agent started; when it was before that is not remembered.
    #[default]
    Never,
    /// There is a stream.
    Now,
    /// There was a stream until then.
    Until(Instant),
}

impl Contact {
    /// Says whether there is a stream.
    pub fn is_now(self) -> bool {
        self == Self::Now
    }

    /// Gives what becomes of it when there is no stream, at `now`.
    pub(super) fn lost(self, now: Instant) -> Self {
        match self {
            Self::Now => Self::Until(now),
            Self::Never | Self::Until(_) => self,
        }
    }

    /// Gives since when the controller was not heard, if the agent started at `started`; none: it is heard.
    pub fn silent_since(self, started: Instant) -> Option<Instant> {
        match self {
            Self::Never => Some(started),
            Self::Now => None,
            Self::Until(end) => Some(end),
        }
    }

    /// Gives how long ago that was at `now`.
    pub fn age(self, started: Instant, now: Instant) -> Duration {
        let since = self.silent_since(started);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}
