//! What ipset says.

use weir_agent::kernel::linux::ipset::{
    Command, Create, ELEMENTS_PER_MESSAGE, Element, Header, Listing, Revisions,
};
use weir_agent::kernel::linux::netlink::wire::HEADER_LEN;
use weir_agent::kernel::linux::netlink::{Attrs, Request};

use super::netlink::{unknown, with_unknown};

const NFGEN_HEADER_LEN: usize = 4;
const IPSET_ATTR_DATA: u16 = 7;

fn behind(request: &Request) -> Attrs<'_> {
    Attrs::new(&request.as_bytes()[HEADER_LEN + NFGEN_HEADER_LEN..])
}

pub(super) fn listing(bytes: &[u8]) -> bool {
    let read = Listing::decode(Attrs::new(bytes));
    let more = with_unknown(bytes);
    assert_eq!(Listing::decode(Attrs::new(&more)), read);
    let Ok(Listing { name, elements, .. }) = read else {
        return false;
    };
    for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
        let request = Command::Add(&name, chunk).encode();
        if !request.oversized() {
            let same = Listing {
                name: name.clone(),
                header: None,
                elements: chunk.to_vec(),
            };
            assert_eq!(Listing::decode(behind(&request)), Ok(same));
        }
    }
    true
}

pub(super) fn header(bytes: &[u8]) -> bool {
    let attrs = Attrs::new(bytes);
    let read = Header::decode(attrs);
    assert_eq!(Header::decode(Attrs::new(&with_unknown(bytes))), read);
    // in the details it is kept
    let details = attrs.get(IPSET_ATTR_DATA);
    let mut more = Request::new(0, 0);
    more.bytes(
        IPSET_ATTR_DATA,
        &with_unknown(details.map_or(&[], |data| data.payload)),
    );
    let more = [&more.as_bytes()[HEADER_LEN..], bytes].concat();
    let mut kept = read.clone();
    if let Ok(header) = &mut kept {
        header.other.insert(0, unknown());
    }
    // a payload that just fitted its length no longer does
    if details.is_none_or(|data| data.payload.len() < 0xff00) {
        assert_eq!(Header::decode(Attrs::new(&more)), kept);
    }
    let Ok(header) = read else {
        return false;
    };
    if let Some(family) = header.family {
        let create = Create {
            name: "set".to_owned(),
            type_name: header.type_name.clone(),
            revision: header.revision,
            family,
            hash_size: header.hash_size,
            max_elements: header.max_elements,
            bucket_size: header.bucket_size,
        };
        let request = Command::Create(&create).encode();
        let same = Header::decode(behind(&request)).expect("a header written again");
        let again = Create {
            type_name: same.type_name,
            revision: same.revision,
            family: same.family.expect("a family"),
            hash_size: same.hash_size,
            max_elements: same.max_elements,
            bucket_size: same.bucket_size,
            ..create.clone()
        };
        assert!(request.oversized() || again == create);
    }
    true
}

pub(super) fn element(bytes: &[u8]) -> bool {
    let read = Element::decode(Attrs::new(bytes));
    let mut kept = read.clone();
    if let Ok((_, other)) = &mut kept {
        other.insert(0, unknown());
    }
    assert_eq!(Element::decode(Attrs::new(&with_unknown(bytes))), kept);
    let Ok((element, _)) = read else {
        return false;
    };
    let request = Command::Test("set", &element).encode();
    let data = behind(&request).get(IPSET_ATTR_DATA).expect("the element");
    assert_eq!(Element::decode(data.attrs()), Ok((element, Vec::new())));
    true
}

pub(super) fn revisions(bytes: &[u8]) -> bool {
    let read = Revisions::decode(Attrs::new(bytes));
    assert_eq!(Revisions::decode(Attrs::new(&with_unknown(bytes))), read);
    if let Ok(revisions) = read {
        // only the kernel writes these two: IPSET_ATTR_REVISION and IPSET_ATTR_REVISION_MIN
        let mut request = Request::netfilter(6, 13, 2, 0);
        request.u8(4, revisions.max).u8(10, revisions.min);
        assert_eq!(Revisions::decode(behind(&request)), Ok(revisions));
    }
    read.is_ok()
}
