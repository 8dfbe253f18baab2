//! The stream to the controller: says hello, takes updates, tells how far the kernel is, and comes back when the
//! stream breaks.

mod assembly;
mod backoff;
mod connect;
mod contact;
mod messages;
mod outgoing;
mod questions;
mod updates;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tracing::{Instrument, Span, error, info, info_span, warn};
use weir_proto::convert::{Hello, degraded_to_wire, hello_to_wire, hold_to_wire, repair_to_wire};
use weir_proto::faults::{self, Bug, Injected, Point};
use weir_proto::machine::draw;
use weir_proto::model::{Capability, DrainProgress, Generation, Hold, Node, Repair};
use weir_proto::trace::{SPANS, chain, set_parent};
use weir_proto::wire;
use weir_proto::wire::node_sync_client::NodeSyncClient;
use weir_proto::wire::sync_request::Message;

pub use self::assembly::{Assembled, Assembly, AssemblyError};
use self::backoff::{Backoff, Ended};
pub use self::connect::Connect;
pub use self::contact::Contact;
use self::messages::{accepted, converged, drains, request};
use self::outgoing::Outgoing;
use self::questions::Questions;
use self::updates::Updates;
use crate::admin::Stages;
use crate::clock::now_unix_ms;
use crate::journal::{Journal, JournalError, Remembered};
use crate::plan::{Keeping, Refusal, Repairs, SavedTotals, Taking, VERSION, begun, shortened};
use crate::reconciler::{Accepted, Ask, Inquiry, Status};

/// A controller on the same continent answers within a few round trips.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A controller takes a node it does not know yet into its store before it answers.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// A dead peer is found within two of these; a middlebox that drops idle flows waits minutes.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// A chunk is at most 1 MiB (`node.proto`); its envelope is small.
const LARGEST_MESSAGE: usize = 2 << 20;
/// A chunk in one frame: fewer turns of the loop for a snapshot.
const LARGEST_FRAME: u32 = 1 << 20;
/// What the controller may send before it is read: one chunk and what comes behind it.
const WINDOW: u32 = 2 << 20;
/// Some ten bad fields: enough to see what is wrong, and small beside any limit of a message.
const LONGEST_REASON: usize = 2_000;
/// Messages to the controller that may wait: it reads them all the time, and a newer report replaces an older.
const OUTGOING: usize = 16;
/// How often a journal that failed is tried to be made anew. What keeps it from being written, a full disk say, takes
/// somebody minutes to find.
const MEND_EVERY: Duration = Duration::from_secs(5);

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node it runs on.
    pub node: Node,
    /// What its kernel can do.
    pub capabilities: Vec<Capability>,
}

/// Whether there is a stream, and what was taken from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// When the controller was last heard.
    pub contact: Contact,
    /// The newest generation durably taken.
    pub accepted: Generation,
    /// What is held back.
    pub hold: Option<Hold>,
    /// How many items of it are not taken.
    pub refused: u64,
    /// Why there is no stream; empty: there is one, or none was tried.
    pub trouble: String,
    /// The last generation that was not taken, and why; none since a later one was.
    pub rejected: Option<(Generation, String)>,
}

/// The session of one agent.
#[derive(Debug)]
pub struct Session<C> {
    /// Where to tell how long changes take.
    pub stages: Stages,
    /// How the controller is reached.
    pub controller: C,
    /// Who we are.
    pub identity: Identity,
    /// Where accepted state is written.
    pub journal: Journal,
    /// What is accepted, and what is held back of it.
    pub keeping: Keeping,
    /// Where accepted changes go.
    pub changes: mpsc::Sender<Accepted>,
    /// How far the kernel is.
    pub status: watch::Receiver<Status>,
    /// How far drains are.
    pub drains: watch::Receiver<Vec<DrainProgress>>,
    /// The repairs that were not told yet.
    pub repairs: watch::Sender<Repairs>,
    /// Where to ask what is to be remembered beside what is accepted.
    pub asks: mpsc::Sender<Ask>,
    /// Where to ask what something would do.
    pub inquiries: mpsc::Sender<Inquiry>,
    /// Where to tell whether there is a stream.
    pub link: watch::Sender<Link>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error("the controller cannot be reached")]
    Connect(#[source] tonic::transport::Error),
    #[error("the controller ended the stream")]
    Closed,
    #[error("the stream broke")]
    Broken(#[source] Box<tonic::Status>),
    #[error("the reconciler is gone")]
    Stopped,
    #[error("the journal takes changes again")]
    Mended,
    #[error("the stream broke")]
    Fault(#[from] Injected),
}

/// Why an update is not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    #[error(transparent)]
    Fold(#[from] Refusal),
    #[error("the journal cannot take it")]
    Journal(#[from] JournalError),
}

/// Gives an endpoint with time-outs and keepalive for a controller's URL.
pub fn endpoint(url: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .max_frame_size(LARGEST_FRAME)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW))
}

impl StreamEnd {
    /// Gives how the attempt ended whose stream was there from `opened` on.
    fn of_attempt(&self, opened: Option<Instant>) -> Ended {
        let code = match self {
            Self::Broken(status) => Some(status.code()),
            _ => None,
        };
        match (code, opened) {
            (Some(Code::ResourceExhausted), _) => Ended::Overloaded,
            (_, Some(opened)) => Ended::Stream(opened.elapsed()),
            // of a stream that was there it says only that the connection broke
            (Some(Code::Unavailable), None) => Ended::Overloaded,
            (_, None) => Ended::Early,
        }
    }
}

impl<C: Connect> Session<C> {
    /// Runs for ever: connects, talks, and comes back. Stopping it at any point loses nothing.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let mut opened = None;
            let end = self.stream(&mut opened).await;
            let contact = self.link.borrow().contact;
            let trouble = shortened(&chain(&end), LONGEST_REASON);
            let link = self.now(contact.lost(Instant::now()));
            self.link.send_replace(Link { trouble, ..link });
            if matches!(end, StreamEnd::Mended) {
                // what was refused meanwhile is asked for by another hello
                continue;
            }
            self.mend().await;
            if matches!(end, StreamEnd::Stopped) {
                break;
            }
            let wait = backoff.wait(end.of_attempt(opened), draw());
            warn!(
                error = &end as &dyn std::error::Error,
                retry_in_ms = wait.as_millis() as u64,
                "no stream; the node goes on with what it holds"
            );
            tokio::time::sleep(wait).await;
        }
    }

    fn now(&self, contact: Contact) -> Link {
        let accepted = &self.keeping.accepted;
        let before = self.link.borrow();
        let later = |(generation, _): &(Generation, String)| *generation > accepted.generation;
        Link {
            contact,
            accepted: accepted.generation,
            hold: self.keeping.hold.as_ref().map(|hold| hold.told.clone()),
            refused: accepted.refused.count(),
            trouble: match contact {
                Contact::Now => String::new(),
                Contact::Never | Contact::Until(_) => before.trouble.clone(),
            },
            rejected: before.rejected.clone().filter(later),
        }
    }

    /// Has one stream, from the attempt to its end. Notes when it was there.
    async fn stream(&mut self, opened: &mut Option<Instant>) -> StreamEnd {
        if let Err(fault) = faults::reach(Point::StreamConnect).await {
            return fault.into();
        }
        let channel = match self.controller.connect().await {
            Ok(channel) => channel,
            Err(error) => return StreamEnd::Connect(error),
        };
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        // from here on: what is told behind hello and what changes after it
        let mut degraded = self.journal.degraded();
        // the channel is empty: there is room for the first messages
        let _ = outgoing.try_send(request(Message::Hello(self.hello())));
        let held = &self.keeping.accepted;
        if held.refused.count() > 0 {
            // whoever is there now may never have heard of it
            let again = accepted(held.generation, held);
            let _ = outgoing.try_send(request(Message::Accepted(again)));
        }
        let condition = self.condition();
        if condition != wire::Condition::default() {
            let _ = outgoing.try_send(request(Message::Condition(condition)));
        }
        let mut client: NodeSyncClient<Channel> =
            NodeSyncClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE);
        let begun = timeout(BEGIN_TIMEOUT, client.sync(ReceiverStream::new(messages))).await;
        let mut incoming = match begun {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return StreamEnd::Broken(Box::new(status)),
            Err(_) => return StreamEnd::Closed,
        };
        *opened = Some(Instant::now());
        self.link.send_replace(self.now(Contact::Now));
        info!(held = %self.keeping.accepted.generation, "connected to the controller");
        if let Err(fault) = faults::reach(Point::StreamHello).await {
            return fault.into();
        }
        let (mut assembly, mut updates) = (Assembly::default(), Updates::default());
        let (mut questions, mut answers) = Questions::new();
        let mut outgoing = Outgoing::new(outgoing);
        let mut repairs = self.repairs.subscribe();
        repairs.mark_changed();
        let mut mending = interval(MEND_EVERY);
        mending.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.status.mark_changed();
        if !self.drains.borrow().is_empty() {
            self.drains.mark_changed();
        }
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let update = match message {
                        Ok(Some(response)) => response.message,
                        Ok(None) => return StreamEnd::Closed,
                        Err(status) => return StreamEnd::Broken(Box::new(status)),
                    };
                    if let Err(fault) = faults::reach(Point::StreamUpdate).await {
                        return fault.into();
                    }
                    let before = self.condition();
                    let held = self.keeping.accepted.generation;
                    let answer = match update {
                        Some(wire::sync_response::Message::Update(update)) => {
                            outgoing.may_wait(Duration::from_millis(update.answer_within_ms.into()));
                            self.update(update, &mut assembly, &mut updates).await
                        }
                        Some(wire::sync_response::Message::Release(release)) => {
                            self.release(Generation(release.generation)).await;
                            None
                        }
                        Some(wire::sync_response::Message::Question(question)) => {
                            self.question(question, &mut questions)
                        }
                        // of a kind that this version does not know: it says nothing to it
                        None => None,
                    };
                    // that the journal fails or works again is told by its own watch
                    let after = self.condition();
                    let news = after.hold != before.hold;
                    let taken = self.keeping.accepted.generation > held;
                    let condition = news.then(|| request(Message::Condition(after)));
                    if let Err(fault) = faults::reach(Point::StreamAccept).await {
                        return fault.into();
                    }
                    match answer {
                        Some(wire::SyncRequest {
                            message: Some(Message::Accepted(accepted)),
                        }) if taken && !news => outgoing.durable(accepted),
                        answer => {
                            let all = answer.into_iter().chain(condition);
                            if !outgoing.now(all).await {
                                return StreamEnd::Closed;
                            }
                        }
                    }
                    if let Err(fault) = faults::reach(Point::StreamAccepted).await {
                        return fault.into();
                    }
                }
                Some(answer) = answers.recv() => {
                    if !outgoing.now([answer]).await {
                        return StreamEnd::Closed;
                    }
                }
                () = outgoing.due() => {
                    if !outgoing.now([]).await {
                        return StreamEnd::Closed;
                    }
                }
                changed = self.status.changed() => {
                    if changed.is_err() {
                        return StreamEnd::Stopped;
                    }
                    let converged = converged(&self.status.borrow_and_update());
                    let _acknowledged = updates.acknowledge(Generation(converged.generation));
                    if let Err(fault) = faults::reach(Point::StreamConverged).await {
                        return fault.into();
                    }
                    if converged.generation > 0 && !outgoing.in_kernel(converged).await {
                        return StreamEnd::Closed;
                    }
                }
                _ = mending.tick() => {
                    if self.mend().await {
                        return StreamEnd::Mended;
                    }
                }
                Ok(()) = degraded.changed() => {
                    let condition = request(Message::Condition(self.condition()));
                    if !outgoing.now([condition]).await {
                        return StreamEnd::Closed;
                    }
                }
                Ok(()) = repairs.changed() => {
                    let told = self.untold();
                    if !told.repairs.is_empty()
                        && !outgoing.now([request(Message::Repairs(told))]).await
                    {
                        return StreamEnd::Closed;
                    }
                }
                changed = self.drains.changed() => {
                    if changed.is_err() {
                        return StreamEnd::Stopped;
                    }
                    let drains = drains(&self.drains.borrow_and_update());
                    if !outgoing.now([request(Message::Drains(drains))]).await {
                        return StreamEnd::Closed;
                    }
                }
            }
        }
    }

    fn hello(&self) -> wire::Hello {
        let accepted = &self.keeping.accepted;
        let generation = accepted.generation;
        let known = generation.0 > 0 && !self.keeping.unsure;
        hello_to_wire(&Hello {
            node: self.identity.node.clone(),
            agent_version: VERSION.to_owned(),
            held: known.then(|| (generation, accepted.told_digest())),
            capabilities: self.identity.capabilities.clone(),
        })
    }

    /// Takes one chunk; gives the answer once the last is in.
    async fn update(
        &mut self,
        chunk: wire::Update,
        assembly: &mut Assembly,
        updates: &mut Updates,
    ) -> Option<wire::SyncRequest> {
        let generation = chunk.generation;
        let assembled = match assembly.take(chunk) {
            Ok(None) => return None,
            Ok(Some(assembled)) => Ok(assembled),
            Err(error) => Err(Refused::from(error)),
        };
        let whole = Instant::now();
        let taken = match assembled {
            Ok(assembled) => self.accept(assembled, updates).await,
            Err(refused) => Err(refused),
        };
        Some(request(match taken {
            Ok(generation) => {
                self.stages.journaled(whole.elapsed());
                let mut accepted = accepted(generation, &self.keeping.accepted);
                accepted.generation -= u64::from(faults::planted(Bug::AckOtherGeneration));
                Message::Accepted(accepted)
            }
            Err(refused) => {
                warn!(
                    generation,
                    error = &refused as &dyn std::error::Error,
                    "update refused"
                );
                let rejection = self.rejection(generation, &refused);
                let why = (Generation(generation), rejection.cause.clone());
                self.link.send_modify(|link| link.rejected = Some(why));
                Message::Rejected(rejection)
            }
        }))
    }

    /// Folds an update, makes it durable, and sends it on its way to the kernel, unless it is held back.
    async fn accept(
        &mut self,
        assembled: Assembled,
        updates: &mut Updates,
    ) -> Result<Generation, Refused> {
        let Assembled {
            update,
            traceparent,
        } = assembled;
        let generation = update.generation;
        let span = info_span!("update", %generation);
        set_parent(&span, &traceparent);
        if let Some(taking) = self.keeping.take(update, now_unix_ms())? {
            // before the kernel can be said to be there
            updates.durable(generation, &span);
            self.take(taking, span).await?;
        }
        Ok(generation)
    }

    /// Lets go what is held back up to a generation.
    async fn release(&mut self, generation: Generation) {
        let Some(taking) = self.keeping.release(generation) else {
            return;
        };
        let span = info_span!("release", %generation);
        if let Err(error) = self.take(taking, span).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "what is held back stays so"
            );
        }
    }

    async fn take(&mut self, taking: Taking, span: Span) -> Result<(), JournalError> {
        let now = now_unix_ms();
        let served = taking.served.as_ref();
        let begun = served.map(|change| begun(change, |key| self.keeping.served(key), now));
        let begun = begun.unwrap_or_default();
        if !faults::planted(Bug::AckBeforeJournal) {
            let written = self.journal.accept(&taking, &begun);
            let journal = info_span!(target: SPANS, parent: &span, "journal");
            written.instrument(journal).instrument(span.clone()).await?;
        }
        let held_before = self.keeping.hold.is_some();
        self.keeping.apply(&taking);
        self.link.send_replace(self.now(Contact::Now));
        let generation = self.keeping.accepted.generation;
        if let Some((key, item)) = taking.refused.refused.first() {
            let (first, count) = (key.to_string(), taking.refused.refused.len());
            warn!(%generation, count, first, cause = item.cause, "items refused; their neighbours are taken");
        }
        let Some(change) = taking.served else {
            if let (Some(hold), false) = (&self.keeping.hold, held_before) {
                error!(%generation, cause = hold.told.cause, "held back until an operator releases it");
            }
            return Ok(());
        };
        info!(%generation, changed = change.keys().count(), "accepted");
        let accepted = Accepted {
            change,
            begun,
            span,
        };
        // it is durable: a reconciler that is gone will find it in the journal
        let _ = self.changes.send(accepted).await;
        Ok(())
    }

    fn condition(&self) -> wire::Condition {
        let hold = self.keeping.hold.as_ref();
        let degraded = self.journal.degraded();
        wire::Condition {
            hold: hold.map(|hold| hold_to_wire(&hold.told)),
            degraded: degraded.borrow().as_ref().map(degraded_to_wire),
        }
    }

    /// Takes the repairs that were not told yet.
    fn untold(&self) -> wire::Repairs {
        let (mut untold, mut counts) = Default::default();
        self.repairs.send_if_modified(|repairs| {
            (untold, counts) = repairs.take();
            false
        });
        let untold: Vec<Repair> = untold;
        let counts: BTreeMap<&str, u64> = counts;
        wire::Repairs {
            repairs: untold.iter().map(repair_to_wire).collect(),
            counts: counts
                .into_iter()
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect(),
        }
    }

    /// Makes a journal that failed anew. Says whether it takes changes again.
    async fn mend(&mut self) -> bool {
        let degraded = self.journal.degraded().borrow().is_some();
        if !degraded || !self.journal.has_failed() {
            return false;
        }
        let (reply, told) = oneshot::channel();
        if self.asks.send(Ask::Remembered(reply)).await.is_err() {
            return false;
        }
        let Ok((ledger, drains)) = told.await else {
            return false;
        };
        let remembered = Remembered {
            keeping: self.keeping.clone(),
            ledger,
            drains,
            // whoever counts makes them durable anew when it sees that the journal takes changes again
            totals: SavedTotals::default(),
        };
        match self.journal.rebuild(&remembered).await {
            Ok(()) => {
                info!("the journal was made anew, and takes changes again");
                true
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the journal cannot be made anew yet"
                );
                false
            }
        }
    }

    fn rejection(&self, generation: u64, refused: &Refused) -> wire::Rejected {
        use wire::rejected::Reason;
        let reason = match refused {
            Refused::Assembly(_) => Reason::Invalid,
            Refused::Fold(Refusal::Stale { .. }) => Reason::Stale,
            Refused::Fold(Refusal::Conflict(_)) => Reason::Conflict,
            Refused::Fold(Refusal::Base { .. }) => Reason::Base,
            Refused::Fold(Refusal::Digest { .. }) => Reason::Digest,
            Refused::Journal(_) => Reason::Journal,
        };
        wire::Rejected {
            generation,
            reason: reason.into(),
            // an update can have any number of bad fields
            cause: shortened(&chain(refused), LONGEST_REASON),
            items: Vec::new(),
            held_generation: self.keeping.accepted.generation.0,
            held_digest: self.keeping.accepted.told_digest().to_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests;
