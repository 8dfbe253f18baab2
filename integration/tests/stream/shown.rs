//! What `weirctl status` shows, with what differs from run to run cut out of it.

use anyhow::{Result, ensure};
use weir_integration::eventually::eventually;
use weir_integration::settled::settled;

use crate::site::{SOON, Site};

impl Site {
    /// Waits until the operator is shown just `expected`, and prints it as it was; `well` is what the command's status says.
    pub(crate) fn shows(&self, when: &str, well: bool, expected: &str) -> Result<()> {
        self.shows_one(when, well, &[expected])
    }

    /// The same where one follows on the other by itself.
    pub(crate) fn shows_one(&self, when: &str, well: bool, expected: &[&str]) -> Result<()> {
        let shown = eventually(when, SOON, || {
            let (said_well, text) = self.weir.weirctl_says(&self.topology, &["status"])?;
            let compared = settled(&text);
            ensure!(
                said_well == well && expected.contains(&compared.as_str()),
                "all is well: {said_well}, and shown is\n{compared}"
            );
            Ok(text)
        })?;
        println!("--- weirctl status, {when}\n{shown}");
        Ok(())
    }
}
