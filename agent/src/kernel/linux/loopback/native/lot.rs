//! Entry steps that happen in one transaction, as messages, and what became of each.

use nix::errno::Errno;
use weir_proto::model::Family;

use super::super::entries;
use super::super::nftables::{Command, ELEMENTS_PER_MESSAGE, Element};
use super::place;
use crate::kernel::linux::netlink::NlError;
use crate::plan::Step;

/// Elements of one family that are added, or deleted, with one message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    family: Family,
    away: bool,
    elements: Vec<Element>,
    /// The place of each in its lot.
    places: Vec<usize>,
}

impl Message {
    pub(super) fn command(&self) -> Command<'_> {
        if self.away {
            Command::Del(place(self.family), &self.elements)
        } else {
            Command::Add(place(self.family), &self.elements)
        }
    }

    pub(super) fn singles(&self) -> Vec<Self> {
        let each = self.elements.iter().zip(&self.places);
        each.map(|(element, place)| Self {
            elements: vec![element.clone()],
            places: vec![*place],
            ..*self
        })
        .collect()
    }
}

/// Entry steps that happen together, and what became of each.
pub(super) struct Lot {
    /// Which family's set each changes, whether it takes away, and its element; none is not an entry's.
    steps: Vec<Option<(Family, bool, Element)>>,
    verdicts: Vec<Option<Result<(), NlError>>>,
}

impl Lot {
    pub(super) fn new(steps: &[&Step]) -> Self {
        let steps: Vec<_> = steps.iter().map(|step| entries::change(step)).collect();
        let verdicts = steps
            .iter()
            .map(|step| match step {
                Some(_) => None,
                None => Some(Err(NlError::Errno(Errno::EINVAL as i32))),
            })
            .collect();
        Self { steps, verdicts }
    }

    /// Gives the steps without a verdict as messages, in their order.
    pub(super) fn messages(&self) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::new();
        for (place, step) in self.steps.iter().enumerate() {
            let (Some((family, away, element)), None) = (step, &self.verdicts[place]) else {
                continue;
            };
            let fits = |message: &Message| {
                (message.family, message.away) == (*family, *away)
                    && message.elements.len() < ELEMENTS_PER_MESSAGE
            };
            match messages.last_mut().filter(|message| fits(message)) {
                Some(message) => {
                    message.elements.push(element.clone());
                    message.places.push(place);
                }
                None => messages.push(Message {
                    family: *family,
                    away: *away,
                    elements: vec![element.clone()],
                    places: vec![place],
                }),
            }
        }
        messages
    }

    pub(super) fn taken(&mut self, messages: &[Message]) {
        for place in messages.iter().flat_map(|message| &message.places) {
            self.verdicts[*place] = Some(Ok(()));
        }
    }

    /// Takes note of a refusal. What is to go and is not there is gone.
    pub(super) fn refused(&mut self, message: &Message, error: &NlError) {
        let gone = message.away && error.errno() == Some(Errno::ENOENT as i32);
        for place in &message.places {
            self.verdicts[*place] = Some(if gone { Ok(()) } else { Err(error.clone()) });
        }
    }

    pub(super) fn all_left(&mut self, error: &NlError) {
        for verdict in self.verdicts.iter_mut().filter(|verdict| verdict.is_none()) {
            *verdict = Some(Err(error.clone()));
        }
    }

    pub(super) fn verdicts(mut self) -> Vec<Result<(), NlError>> {
        self.all_left(&NlError::Errno(Errno::EAGAIN as i32));
        self.verdicts.into_iter().flatten().collect()
    }
}
