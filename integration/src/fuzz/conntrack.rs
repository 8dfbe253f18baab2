//! What conntrack shows.

use weir_agent::kernel::linux::conntrack::{Command, DecodeError, Flow};
use weir_agent::kernel::linux::netlink::{Attrs, Messages};

use super::netlink::with_unknown;

/// Length of the `nfgenmsg` in front of the attributes.
const NFGEN_HEADER_LEN: usize = 4;

/// Says whether attributes are a flow; what nobody knows must change nothing, and a deletion must name what was read.
pub(super) fn flow(bytes: &[u8]) -> bool {
    let read: Result<Flow, DecodeError> = Flow::decode(Attrs::new(bytes));
    let more = with_unknown(bytes);
    assert_eq!(Flow::decode(Attrs::new(&more)), read);
    let Ok(flow) = read else { return false };
    let mut deletion = Command::Delete(&flow).encode();
    // CTA_TUPLE_REPLY, of which a deletion says nothing
    deletion.nest(2, |out| flow.reply.write(out));
    let message = Messages::new(deletion.as_bytes()).next();
    let message = message.and_then(Result::ok).expect("a message");
    assert_eq!(Flow::decode(message.attrs(NFGEN_HEADER_LEN)), Ok(flow));
    true
}
