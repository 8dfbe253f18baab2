//! The door to conntrack: sends what the codec wrote, reads what came back.

use std::collections::BTreeSet;

use nix::errno::Errno;

use super::translation::questions;
use super::{Command, Family, Filter, Filters, Flow, NFGEN_HEADER_LEN, Translation};
use crate::kernel::linux::netlink::{
    Batch, Counts, Message, NetlinkSocket, NlError, Protocol, Request,
};

/// How often a dump is begun again that was disturbed.
const TRIES: usize = 3;

/// The flows of one network namespace.
pub struct Conntrack {
    /// Away while a dump is under way, and gone with one that was given up.
    shows: Option<NetlinkSocket>,
    deletes: NetlinkSocket,
    filters: Filters,
    deleted: u64,
}

impl Conntrack {
    /// Opens its sockets in this thread's network namespace.
    pub fn open() -> Result<Self, NlError> {
        Self::open_heeding(Filters::default())
    }

    /// Opens them like [`Self::open`] does, to a kernel of which it is known what of a filter it heeds.
    pub fn open_heeding(filters: Filters) -> Result<Self, NlError> {
        Ok(Self {
            shows: Some(NetlinkSocket::open(Protocol::Netfilter)?),
            deletes: NetlinkSocket::open(Protocol::Netfilter)?,
            filters,
            deleted: 0,
        })
    }

    /// Gives what was sent and received so far by the socket that shows flows, since it was opened last, and by the one
    /// that deletes them.
    pub fn counts(&self) -> [Counts; 2] {
        let shows = self.shows.as_ref().map(NetlinkSocket::counts);
        [shows.unwrap_or_default(), self.deletes.counts()]
    }

    /// Gives what of a filter this kernel was found to heed.
    pub fn filters(&self) -> Filters {
        self.filters
    }

    /// Gives how many flows were deleted since it was opened.
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// Deletes every flow of these translations. Each lot of flows is deleted before the next is shown, so that a million
    /// of them take no more memory than a few hundred. One that goes meanwhile, or comes anew, is well.
    pub async fn forget(&mut self, wanted: &BTreeSet<Translation>) -> Result<(), NlError> {
        let mut tried = 0;
        'anew: loop {
            let filters = self.filters;
            for (family, filter) in questions(wanted, filters) {
                match self.forget_some(family, filter, wanted).await {
                    Ok(()) => {}
                    Err(NlError::Interrupted) if tried + 1 < TRIES => {
                        tried += 1;
                        continue 'anew;
                    }
                    Err(NlError::Errno(errno)) if refuses(errno) => match filter {
                        Some(filter) => self.filters = filters.less(&filter),
                        None => return Err(NlError::Errno(errno)),
                    },
                    Err(error) => return Err(error),
                }
                if self.filters != filters {
                    continue 'anew;
                }
            }
            return Ok(());
        }
    }

    /// Dumps a family's flows, as far as a filter leaves them, and deletes those that are wanted.
    async fn forget_some(
        &mut self,
        family: Family,
        filter: Option<Filter>,
        wanted: &BTreeSet<Translation>,
    ) -> Result<(), NlError> {
        let request = match &filter {
            Some(filter) => Command::Some(filter).encode(),
            None => Command::All(family).encode(),
        };
        let mut shows = match self.shows.take() {
            Some(shows) => shows,
            None => NetlinkSocket::open(Protocol::Netfilter)?,
        };
        let outcome = self.stream(&mut shows, &request, filter, wanted).await;
        // one whose dump was not heard to its end is of no use to the next
        if outcome.as_ref().is_ok_and(|(ended, _)| *ended) {
            self.shows = Some(shows);
        }
        outcome?.1
    }

    /// Gives whether the dump came to its end, and how it went.
    async fn stream(
        &mut self,
        shows: &mut NetlinkSocket,
        request: &Request,
        filter: Option<Filter>,
        wanted: &BTreeSet<Translation>,
    ) -> Result<(bool, Result<(), NlError>), NlError> {
        let mut answer = shows.begin_dump(request).await?;
        let mut lot: Vec<Flow> = Vec::new();
        let mut heeded = true;
        loop {
            let heard = shows
                .hear(&mut answer, |message: Message<'_>| {
                    // one that cannot be read is no flow of a kind that is deleted here
                    let Ok(flow) = Flow::decode(message.attrs(NFGEN_HEADER_LEN)) else {
                        return;
                    };
                    heeded &= !filter.is_some_and(|filter| filter.leaves_out(&flow));
                    if Translation::of(&flow).is_some_and(|one| wanted.contains(&one)) {
                        lot.push(flow);
                    }
                })
                .await;
            if !heeded {
                self.filters = Filters::Nothing;
            }
            let gone = self.delete(&lot).await;
            lot.clear();
            match heard {
                Ok(false) => gone?,
                Ok(true) => return Ok((true, gone)),
                Err(error) => return Ok((error.is_answer(), Err(error))),
            }
        }
    }

    async fn delete(&mut self, flows: &[Flow]) -> Result<(), NlError> {
        let write = |place: usize, out: &mut Batch| Command::Delete(&flows[place]).write(out);
        let refused = self.deletes.pipeline(flows.len(), write).await;
        self.deleted += (flows.len() - refused.len()) as u64;
        let gone = |error: &NlError| error.errno() == Some(Errno::ENOENT as i32);
        match refused.into_iter().find(|(_, error)| !gone(error)) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}

/// Says whether it may be the filter that a kernel refuses: what it cannot read, flags that it does not know.
fn refuses(errno: i32) -> bool {
    [Errno::EINVAL as i32, Errno::EOPNOTSUPP as i32].contains(&errno)
}
