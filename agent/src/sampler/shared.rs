//! One connection for the session and the reports.

use tokio::sync::watch;
use tonic::transport::{Channel, Error};

use crate::session::Connect;

/// Connects as another does, and shows the newest connection to whoever reports.
#[derive(Debug, Clone)]
pub struct Shared<C> {
    inner: C,
    newest: watch::Sender<Option<Channel>>,
}

/// The connection that the session made last.
#[derive(Debug, Clone)]
pub struct Connection(watch::Sender<Option<Channel>>);

impl<C> Shared<C> {
    /// Makes the two ends.
    pub fn new(inner: C) -> (Self, Connection) {
        let (newest, _) = watch::channel(None);
        let connection = Connection(newest.clone());
        (Self { inner, newest }, connection)
    }
}

impl<C: Connect> Connect for Shared<C> {
    async fn connect(&self) -> Result<Channel, Error> {
        // one that nobody took is not held open
        self.newest.send_replace(None);
        let channel = self.inner.connect().await?;
        self.newest.send_replace(Some(channel.clone()));
        Ok(channel)
    }
}

impl Connection {
    /// Takes the connection; it is closed when both who took it and the session are done with it. None: there is none, or it
    /// was taken.
    pub(super) fn take(&self) -> Option<Channel> {
        self.0.send_replace(None)
    }
}
