//! Names of generic netlink families: the kernel numbers them when a module registers, so ask each time.

use super::{Attrs, DecodeError, Message, NetlinkSocket, NlError, Request};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_VERSION: u8 = 2;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Length of the `genlmsghdr` in front of the attributes of every generic netlink message.
pub const GENL_HEADER_LEN: usize = 4;

/// Resolves a family's name to the number that its messages carry as type.
///
/// The kernel may load a module to answer (`genl_get_cmd_*` and `ctrl_getfamily` in
/// `net/netlink/genetlink.c` ask for `net-pf-16-proto-16-family-NAME`). Fails with `ENOENT` when nobody
/// registered the name.
pub async fn resolve(socket: &mut NetlinkSocket, name: &str) -> Result<u16, NlError> {
    let mut request = Request::generic(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_VERSION, 0);
    request.string(CTRL_ATTR_FAMILY_NAME, name);
    let mut id = None;
    let take = |message: Message<'_>| id = Some(family_id(message.attrs(GENL_HEADER_LEN)));
    socket.request(&request, take).await?;
    Ok(DecodeError::need("CTRL_ATTR_FAMILY_ID", id)??)
}

/// Reads the family's number from the attributes of a `CTRL_CMD_NEWFAMILY`, which answers `CTRL_CMD_GETFAMILY`.
pub fn family_id(attrs: Attrs<'_>) -> Result<u16, DecodeError> {
    let id = DecodeError::need("CTRL_ATTR_FAMILY_ID", attrs.get(CTRL_ATTR_FAMILY_ID))?;
    DecodeError::read("CTRL_ATTR_FAMILY_ID", id.u16())
}
