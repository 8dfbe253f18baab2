//! Events as bytes: as they go over the wire.

use prost::Message as _;
use weir_proto::model::{NodeName, Refused};
use weir_proto::wire;
use weir_proto::wire::event::{Object, Reason as WireReason, Type as WireType};

use super::Cause;
use crate::desired::events::{EventObject, EventType, ObjectKind};
use crate::desired::{Event, Reason};

/// Gives an event as it goes over the wire.
pub(crate) fn event_to_wire(event: &Event) -> wire::Event {
    let Event {
        number,
        reason,
        node,
        object,
        part,
        who,
        message,
        first_unix_ms,
        last_unix_ms,
        count,
    } = event;
    wire::Event {
        number: *number,
        r#type: type_to_wire(reason.event_type()).into(),
        reason: reason_to_wire(*reason).into(),
        node: node.as_ref().map(ToString::to_string).unwrap_or_default(),
        object: object.as_ref().map(|object| Object {
            kind: object.kind.as_str().to_owned(),
            name: object.name.clone(),
        }),
        part: part.clone(),
        who: who.clone(),
        message: message.clone(),
        first_unix_ms: *first_unix_ms,
        last_unix_ms: *last_unix_ms,
        count: *count,
    }
}

/// Writes an event.
pub(super) fn written_event(event: &Event) -> Vec<u8> {
    event_to_wire(event).encode_to_vec()
}

/// Reads an event.
pub(super) fn read_event(bytes: &[u8]) -> Result<Event, Cause> {
    let wire::Event {
        number,
        // goes with the reason
        r#type: _,
        reason,
        node,
        object,
        part,
        who,
        message,
        first_unix_ms,
        last_unix_ms,
        count,
    } = wire::Event::decode(bytes)?;
    let node = match node.as_str() {
        "" => None,
        name => Some(NodeName::new(name)?),
    };
    let object = object.map(|Object { kind, name }| {
        let kind = ObjectKind::parse(&kind).ok_or("there is no such kind of object");
        kind.map(|kind| EventObject { kind, name })
    });
    Ok(Event {
        number,
        reason: reason_from_wire(reason)?,
        node,
        object: object.transpose()?,
        part,
        who,
        message,
        first_unix_ms,
        last_unix_ms,
        count,
    })
}

/// Reads what an event is worth.
pub(crate) fn type_from_wire(number: i32) -> Result<EventType, Refused> {
    match WireType::try_from(number) {
        Ok(WireType::Normal) => Ok(EventType::Normal),
        Ok(WireType::Warning) => Ok(EventType::Warning),
        Ok(WireType::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "type of event")),
    }
}

fn type_to_wire(of: EventType) -> WireType {
    match of {
        EventType::Normal => WireType::Normal,
        EventType::Warning => WireType::Warning,
    }
}

/// Reads what happened.
pub(crate) fn reason_from_wire(number: i32) -> Result<Reason, Refused> {
    let reason = WireReason::try_from(number);
    let reason = reason.map_err(|_| Refused::Enum(number, "reason of an event"))?;
    Ok(match reason {
        WireReason::Unspecified => return Err(Refused::Missing),
        WireReason::NodeRegistered => Reason::NodeRegistered,
        WireReason::NodeAddressesChanged => Reason::NodeAddressesChanged,
        WireReason::NodeDeleted => Reason::NodeDeleted,
        WireReason::NodeConnected => Reason::NodeConnected,
        WireReason::NodeDisconnected => Reason::NodeDisconnected,
        WireReason::NodeReplaced => Reason::NodeReplaced,
        WireReason::NodeDegraded => Reason::NodeDegraded,
        WireReason::NodeRecovered => Reason::NodeRecovered,
        WireReason::Applied => Reason::Applied,
        WireReason::Deleted => Reason::Deleted,
        WireReason::RolledBack => Reason::RolledBack,
        WireReason::DriftRepaired => Reason::DriftRepaired,
        WireReason::ItemsRefused => Reason::ItemsRefused,
        WireReason::ItemsFailed => Reason::ItemsFailed,
        WireReason::UpdateRejected => Reason::UpdateRejected,
        WireReason::HeldBack => Reason::HeldBack,
        WireReason::HoldReleased => Reason::HoldReleased,
        WireReason::HoldEnded => Reason::HoldEnded,
        WireReason::DrainAsked => Reason::DrainAsked,
        WireReason::DrainCancelled => Reason::DrainCancelled,
        WireReason::DrainBegan => Reason::DrainBegan,
        WireReason::DrainDeadline => Reason::DrainDeadline,
        WireReason::DrainEnded => Reason::DrainEnded,
        WireReason::RolloutBegan => Reason::RolloutBegan,
        WireReason::RolloutPaused => Reason::RolloutPaused,
        WireReason::RolloutResumed => Reason::RolloutResumed,
        WireReason::RolloutHalted => Reason::RolloutHalted,
        WireReason::RolloutDone => Reason::RolloutDone,
        WireReason::RolloutUndone => Reason::RolloutUndone,
    })
}

/// Writes what happened.
fn reason_to_wire(reason: Reason) -> WireReason {
    match reason {
        Reason::NodeRegistered => WireReason::NodeRegistered,
        Reason::NodeAddressesChanged => WireReason::NodeAddressesChanged,
        Reason::NodeDeleted => WireReason::NodeDeleted,
        Reason::NodeConnected => WireReason::NodeConnected,
        Reason::NodeDisconnected => WireReason::NodeDisconnected,
        Reason::NodeReplaced => WireReason::NodeReplaced,
        Reason::NodeDegraded => WireReason::NodeDegraded,
        Reason::NodeRecovered => WireReason::NodeRecovered,
        Reason::Applied => WireReason::Applied,
        Reason::Deleted => WireReason::Deleted,
        Reason::RolledBack => WireReason::RolledBack,
        Reason::DriftRepaired => WireReason::DriftRepaired,
        Reason::ItemsRefused => WireReason::ItemsRefused,
        Reason::ItemsFailed => WireReason::ItemsFailed,
        Reason::UpdateRejected => WireReason::UpdateRejected,
        Reason::HeldBack => WireReason::HeldBack,
        Reason::HoldReleased => WireReason::HoldReleased,
        Reason::HoldEnded => WireReason::HoldEnded,
        Reason::DrainAsked => WireReason::DrainAsked,
        Reason::DrainCancelled => WireReason::DrainCancelled,
        Reason::DrainBegan => WireReason::DrainBegan,
        Reason::DrainDeadline => WireReason::DrainDeadline,
        Reason::DrainEnded => WireReason::DrainEnded,
        Reason::RolloutBegan => WireReason::RolloutBegan,
        Reason::RolloutPaused => WireReason::RolloutPaused,
        Reason::RolloutResumed => WireReason::RolloutResumed,
        Reason::RolloutHalted => WireReason::RolloutHalted,
        Reason::RolloutDone => WireReason::RolloutDone,
        Reason::RolloutUndone => WireReason::RolloutUndone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_as_it_was_written_and_is_called_the_same() {
        let mut known = 0;
        for number in 1..100 {
            let Ok(reason) = reason_from_wire(number) else {
                continue;
            };
            known += 1;
            let wire = reason_to_wire(reason);
            assert_eq!(i32::from(wire), number);
            let words = wire.as_str_name().trim_start_matches("REASON_").split('_');
            let camel: String = words
                .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
                .collect();
            assert_eq!(camel, reason.to_string());
        }
        assert_eq!(known, 29);
        assert_eq!(reason_from_wire(0), Err(Refused::Missing));
        assert_eq!(
            reason_from_wire(99),
            Err(Refused::Enum(99, "reason of an event"))
        );
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let whole = Event {
            number: 7,
            reason: Reason::DriftRepaired,
            node: NodeName::new("a").ok(),
            object: Some(EventObject::new(ObjectKind::Vip, "10.1.0.1")),
            part: "vip 10.1.0.1".to_owned(),
            who: "admin/alice".to_owned(),
            message: "it was gone".to_owned(),
            first_unix_ms: 1,
            last_unix_ms: 2,
            count: 3,
        };
        let bare = Event {
            node: None,
            object: None,
            part: String::new(),
            who: String::new(),
            ..whole.clone()
        };
        for event in [whole, bare] {
            assert_eq!(read_event(&written_event(&event)).ok(), Some(event));
        }
        assert!(read_event(b"").is_err());
    }
}
