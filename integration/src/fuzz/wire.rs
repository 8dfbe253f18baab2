//! What controller, agent and operator say to each other.

use std::fmt::Debug;

use prost::Message;
use weir_proto::convert::{
    FieldErrors, failure_from_wire, failure_to_wire, hello_from_wire, hello_to_wire,
    item_from_sent, item_from_wire, item_key_from_wire, item_key_to_wire, item_to_wire,
    resource_from_wire, resource_to_wire,
};
use weir_proto::digest::Digest;
use weir_proto::model::Revision;
use weir_proto::state::NodeState;
use weir_proto::wire;

/// Decodes, reads, writes, encodes, decodes and reads again; gives what was read.
fn twice<W: Message + Default, M: Debug + PartialEq>(
    bytes: &[u8],
    read: impl Fn(W) -> Result<M, FieldErrors>,
    write: impl Fn(&M) -> W,
) -> Option<M> {
    let meant = match read(W::decode(bytes).ok()?) {
        Ok(meant) => meant,
        Err(FieldErrors(errors)) => {
            assert!(!errors.is_empty(), "refused without a reason");
            return None;
        }
    };
    let encoded = write(&meant).encode_to_vec();
    let again = W::decode(encoded.as_slice()).expect("what was encoded");
    assert_eq!(read(again).as_ref(), Ok(&meant));
    Some(meant)
}

pub(super) fn item(bytes: &[u8]) -> bool {
    // what is taken has the digest of what was sent, whatever it is
    match item_from_sent(bytes, "item", &mut Vec::new()) {
        Ok(item) => assert_eq!(Digest::of(&item), Digest::of_encoded(bytes)),
        Err(refused) => {
            assert!(!refused.why.0.is_empty(), "refused without a reason");
            assert_eq!(refused.digest, Digest::of_encoded(bytes));
            let key = item_key_to_wire(&refused.key);
            assert_eq!(item_key_from_wire(&key, "key"), Ok(refused.key));
        }
    }
    let read = |wire: wire::Item| item_from_wire(&wire, "item");
    let Some(item) = twice(bytes, read, item_to_wire) else {
        return false;
    };
    let key = item.key();
    assert_eq!(item_key_from_wire(&item_key_to_wire(&key), "key"), Ok(key));
    // what comes and goes leaves the digest of nothing
    let mut state = NodeState::default();
    state.insert(item.clone());
    state.insert(item);
    assert!(state.remove(&key).is_some());
    assert_eq!(state.digest(), Digest::default());
    true
}

pub(super) fn item_key(bytes: &[u8]) -> bool {
    let read = |wire: wire::ItemKey| item_key_from_wire(&wire, "key");
    twice(bytes, read, item_key_to_wire).is_some()
}

pub(super) fn resource(bytes: &[u8]) -> bool {
    let write = |resource: &_| resource_to_wire(resource, Revision(7));
    twice(bytes, resource_from_wire, write).is_some()
}

pub(super) fn hello(bytes: &[u8]) -> bool {
    twice(bytes, hello_from_wire, hello_to_wire).is_some()
}

pub(super) fn failure(bytes: &[u8]) -> bool {
    let read = |wire| failure_from_wire(wire, "failure");
    twice(bytes, read, failure_to_wire).is_some()
}
