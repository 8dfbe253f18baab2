//! The settings of the plan, as files under `/proc/sys`.

use nix::errno::Errno;

use super::sysctl::{self, SysctlError};
use super::verdict;
use crate::kernel::{KernelError, StepError, Verdict};
use crate::plan::{Key, Object, Problem, Scope, Step, Sysctl, Table, Unit};

/// The settings of one network namespace.
#[derive(Debug, Default)]
pub(super) struct Settings {
    files: sysctl::Sysctl,
}

impl Settings {
    /// Reads all settings of the plan, if the scope has them. One that the kernel lacks is left out.
    pub(super) fn read(&self, scope: &Scope, table: &mut Table) -> Result<(), KernelError> {
        let base = match scope {
            Scope::All => true,
            Scope::Units(units) => units.contains(&Unit::Base),
        };
        for sysctl in Sysctl::ALL.into_iter().filter(|_| base) {
            match self.files.read(sysctl.name()) {
                Ok(value) => {
                    table.insert(Key::Sysctl(sysctl), Object::Value(value));
                }
                Err(SysctlError::Absent(_)) => {}
                Err(error) => return Err(verdict::unreadable("a sysctl", error)),
            }
        }
        Ok(())
    }

    /// Sets them.
    pub(super) fn apply(&self, steps: &[&Step]) -> Vec<Verdict> {
        steps.iter().map(|step| self.take(step)).collect()
    }

    fn take(&self, step: &Step) -> Verdict {
        match step {
            Step::Edit {
                key: Key::Sysctl(sysctl),
                object: Object::Value(value),
            } => self.files.write(sysctl.name(), value).map_err(refused),
            _ => Err(verdict::refused(
                Errno::EINVAL,
                "a setting can only be edited",
            )),
        }
    }
}

fn refused(error: SysctlError) -> StepError {
    let source = match &error {
        SysctlError::Absent(_) => Some(Errno::ENOENT as i32),
        SysctlError::Name(_) => Some(Errno::EINVAL as i32),
        SysctlError::Denied { source, .. }
        | SysctlError::Refused { source, .. }
        | SysctlError::Io { source, .. } => source.raw_os_error(),
    };
    StepError::Refused(Problem::new(
        source.unwrap_or(Errno::EIO as i32),
        error.to_string(),
    ))
}
