//! Sets that are built under another name and swapped in.

use std::collections::BTreeSet;

use nix::errno::Errno;
use weir_proto::model::Family;

use super::{Changes, FEW_BUCKETS, MAX_ELEMENTS, destroy, is_of_type, netlink_family, set_name};
use crate::kernel::linux::ipset::{Command, Element, Header, Ipset};
use crate::kernel::linux::netlink::NlError;

const IPSET_ERR_TYPE_MISMATCH: i32 = 4102;

/// Gives the name under which a family's next set is built.
fn aside(family: Family) -> &'static str {
    match family {
        Family::V4 => "WEIR-LOOPBACK-new",
        Family::V6 => "WEIR-LOOPBACK-6-new",
    }
}

/// Makes a family's set with `elements` in it; refused with `EEXIST` when one by its name is there.
pub(super) async fn make(
    ipset: &mut Ipset,
    family: Family,
    elements: &[Element],
) -> Result<(), NlError> {
    create(ipset, set_name(family), family, elements.len()).await?;
    match all(ipset.add(set_name(family), elements).await) {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = destroy(ipset, set_name(family)).await;
            Err(error)
        }
    }
}

/// Puts one of the right shape in the place of a family's set, with all that is in that.
pub(super) async fn mend(
    ipset: &mut Ipset,
    family: Family,
    header: &Header,
) -> Result<(), NlError> {
    let kept = if is_of_type(header, family) {
        live(ipset, family).await?
    } else {
        // what holds other fields holds no entries
        Vec::new()
    };
    if let Err(error) = all(build(ipset, family, &kept).await?) {
        let _ = clear(ipset, family).await;
        return Err(error);
    }
    match swap_in(ipset, family).await {
        Err(NlError::Errno(IPSET_ERR_TYPE_MISMATCH)) => {
            // no rule can be made to take one for the other; without a rule on it the old one can just go
            ipset.run(&Command::Destroy(set_name(family))).await?;
            let rename = Command::Rename(aside(family), set_name(family));
            ipset.run(&rename).await
        }
        swapped => swapped,
    }
}

/// Changes a family's set at once: builds what it will be beside it and swaps. Gives the verdict on each change; an
/// error means that nothing was changed by this and that it can be done in place.
pub(super) async fn change(
    ipset: &mut Ipset,
    family: Family,
    changes: &Changes,
) -> Result<Vec<Result<(), NlError>>, NlError> {
    let Changes { away, elements } = changes;
    let mut gone = BTreeSet::new();
    for (element, away) in elements.iter().zip(away) {
        match away {
            true => gone.insert(element),
            false => gone.remove(element),
        };
    }
    let mut kept = live(ipset, family).await?;
    kept.retain(|element| !gone.contains(element));
    clear(ipset, family).await?;
    let most = kept.len() + elements.len();
    create(ipset, aside(family), family, most).await?;
    if let Err(error) = all(ipset.add(aside(family), &kept).await) {
        let _ = clear(ipset, family).await;
        return Err(error);
    }
    let answers = if gone.is_empty() {
        ipset.add(aside(family), elements).await
    } else {
        let added: Vec<Element> = elements
            .iter()
            .filter(|element| !gone.contains(element))
            .cloned()
            .collect();
        let mut answers = ipset.add(aside(family), &added).await.into_iter();
        let answer = |element| match gone.contains(element) {
            true => Ok(()),
            false => answers.next().unwrap_or(Ok(())),
        };
        elements.iter().map(answer).collect()
    };
    swap_in(ipset, family).await?;
    Ok(answers)
}

/// Destroys what a build that was cut short left. A set that a rule refers to, or of another type, is not ours.
pub(super) async fn clear(ipset: &mut Ipset, family: Family) -> Result<(), NlError> {
    let name = aside(family);
    match ipset.details(name).await? {
        Some(header) if is_of_type(&header, family) && header.references == 0 => {
            ipset.run(&Command::Destroy(name)).await
        }
        Some(_) => Err(NlError::Errno(Errno::EEXIST as i32)),
        None => Ok(()),
    }
}

/// Reads what is in the set.
async fn live(ipset: &mut Ipset, family: Family) -> Result<Vec<Element>, NlError> {
    let set = ipset.list(set_name(family)).await?;
    let set = set.ok_or(NlError::Errno(Errno::ENOENT as i32))?;
    Ok(set.elements)
}

/// Builds a set aside, and gives the verdict on each element.
async fn build(
    ipset: &mut Ipset,
    family: Family,
    elements: &[Element],
) -> Result<Vec<Result<(), NlError>>, NlError> {
    clear(ipset, family).await?;
    create(ipset, aside(family), family, elements.len()).await?;
    Ok(ipset.add(aside(family), elements).await)
}

/// Swaps the set that was built in and destroys the one that was there.
async fn swap_in(ipset: &mut Ipset, family: Family) -> Result<(), NlError> {
    let swapped = ipset
        .run(&Command::Swap(aside(family), set_name(family)))
        .await;
    if swapped
        .as_ref()
        .is_err_and(|error| error.errno() == Some(IPSET_ERR_TYPE_MISMATCH))
    {
        return swapped;
    }
    // somebody may be listing it: what stays goes before the next build
    let _ = clear(ipset, family).await;
    swapped
}

/// Creates a set that takes so many elements without growing: two to a bucket leave twelve, where one overflows, out
/// of reach.
async fn create(
    ipset: &mut Ipset,
    name: &str,
    family: Family,
    elements: usize,
) -> Result<(), NlError> {
    let elements = u32::try_from(elements).unwrap_or(u32::MAX / 4);
    let buckets = (elements / 2).next_power_of_two().max(FEW_BUCKETS);
    let room = (elements + elements / 8)
        .next_power_of_two()
        .max(MAX_ELEMENTS);
    ipset
        .create_sized(name, netlink_family(family), [buckets, room])
        .await
}

fn all(answers: Vec<Result<(), NlError>>) -> Result<(), NlError> {
    answers.into_iter().collect()
}
