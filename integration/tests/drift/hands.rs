//! What people do: the operator at his desk, and somebody at work on node-a.

use anyhow::{Context, Result};
use weir_integration::eventually::eventually;
use weir_integration::kernel_state::KernelState;
use weir_integration::program;

use crate::site::{SOON, Site};

impl Site {
    /// Runs the operator's command and gives what it printed.
    pub(crate) fn weirctl(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.weir.weirctl(&self.topology, &words, "")
    }

    /// Runs a command on node-a and gives what it printed.
    pub(crate) fn on_node(&self, line: &str) -> Result<String> {
        self.on_node_with(line, "")
    }

    /// The same with something to read.
    pub(crate) fn on_node_with(&self, line: &str, input: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty line")?;
        program::run(self.node_a()?.netns.command(program).args(words), input)
    }

    /// Waits until node-a's kernel holds what it held, in whatever order it was made.
    pub(crate) fn kernel_is_like(&self, before: &KernelState) -> Result<()> {
        eventually("the kernel holds what it held", SOON, || {
            self.kernel()?.is_like(before)
        })
    }

    /// A number that node-a's agent tells.
    pub(crate) fn counts(&self, name: &str) -> Result<u64> {
        self.weir.agent_counts(&self.topology, "node-a", name)
    }
}
