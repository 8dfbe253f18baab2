//! A thread in a network namespace of its own.

use std::{future::Future, process::Command, time::Duration};

use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread of its own in a new network namespace with its loopback up.
pub(crate) fn in_new_netns<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace: this test needs root");
        sh("ip link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let limited = async { tokio::time::timeout(Duration::from_secs(60), test()).await };
        runtime
            .unwrap()
            .block_on(limited)
            .expect("the test within a minute");
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a shell line that must succeed and gives what it printed.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
