//! Which VIPs could not be bound, found without binding them.

use std::collections::BTreeMap;

use super::{LINK, Vips, vip_of};
use crate::kernel::linux::verdict;
use crate::kernel::{KernelError, StepError};
use crate::plan::{Key, Problem, Step};

/// No link has this number: what is looked at from there is of others.
const NO_LINK: u32 = 0;

impl Vips {
    /// Gives which of these steps would be refused, and why, by the same look that comes before they are taken.
    pub(in crate::kernel::linux) async fn refusals(
        &mut self,
        steps: &[Step],
    ) -> Result<BTreeMap<Key, Problem>, KernelError> {
        let binds = |step: &&Step| {
            !matches!(step, Step::Remove { .. }) && vip_of(step.key().unit()).is_some()
        };
        let steps: Vec<&Step> = steps.iter().filter(binds).collect();
        if steps.is_empty() {
            return Ok(BTreeMap::new());
        }
        let refused = match self.link().await {
            Ok(link) => {
                let works = self.works(link.unwrap_or(NO_LINK), &steps).await;
                let works = works.map_err(|error| verdict::unreadable(LINK, error))?;
                works.into_iter().map(Result::err).collect()
            }
            Err(error) => vec![Some(error); steps.len()],
        };
        let refused = steps.iter().zip(refused);
        Ok(refused
            .filter_map(|(step, error)| match error? {
                StepError::Refused(problem) => Some((step.key(), *problem)),
                StepError::Unknown(_) => None,
            })
            .collect())
    }
}
