//! Where the journal is, or shall be. PURE.

use weir_proto::checkup::{Finding, Group};

use crate::check::facts::{Directory, Filesystem};

const JOURNAL: Group = Group("journal");
const MIB: u64 = 1 << 20;
/// A journal of 10,000 backends takes some 20 MiB, and while it is made anew twice that.
const LEAST: u64 = 64 * MIB;
const AMPLE: u64 = 512 * MIB;
const ELSEWHERE: &str = "name a directory on a local disk by --data-dir";

/// What is known of file systems by their number (`include/uapi/linux/magic.h` and `include/linux/ceph/ceph_fs.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// What was synced survives a power cut.
    Durably,
    /// Until the machine is switched off.
    UntilReboot,
    /// As long as the container.
    WithContainer,
    /// A lock or a sync may be a mere word.
    Uncertainly,
}

const KNOWN: [(i64, &str, Keeps); 13] = [
    (0xEF53, "ext4", Keeps::Durably),
    (0x5846_5342, "xfs", Keeps::Durably),
    (0x9123_683E, "btrfs", Keeps::Durably),
    (0xF2F5_2010, "f2fs", Keeps::Durably),
    (0x2FC1_2FC1, "zfs", Keeps::Durably),
    (0x0102_1994, "tmpfs", Keeps::UntilReboot),
    (0x8584_58F6, "ramfs", Keeps::UntilReboot),
    (0x794C_7630, "overlayfs", Keeps::WithContainer),
    (0x6969, "NFS", Keeps::Uncertainly),
    (0x6573_5546, "FUSE", Keeps::Uncertainly),
    (0xFF53_4D42, "CIFS", Keeps::Uncertainly),
    (0xFE53_4D42, "SMB", Keeps::Uncertainly),
    (0x0102_1997, "9p", Keeps::Uncertainly),
];

/// Judges the directory of the journal.
pub(super) fn journal(directory: &Directory) -> Vec<Finding> {
    let Directory {
        path,
        nearest,
        is_directory,
        writable,
        filesystem,
        held,
    } = directory;
    let name = path.display().to_string();
    let there = path == nearest;
    let place = match (is_directory, writable, there) {
        (false, ..) => JOURNAL.failed(
            "directory",
            format!("{} is no directory", nearest.display()),
            "move it aside, or name another one by --data-dir",
        ),
        (true, false, _) => JOURNAL.failed(
            "directory",
            format!("{} cannot be written", nearest.display()),
            "run as the user that the agent runs as; if that is so, mount it for writing or change its owner",
        ),
        (true, true, true) => JOURNAL.fine("directory", format!("{name} is writable")),
        (true, true, false) => {
            JOURNAL.fine("directory", format!("{name} will be made in {}", nearest.display()))
        }
    };
    let mut findings = vec![place];
    if let Some(filesystem) = filesystem {
        findings.push(kind(filesystem.magic));
        findings.push(space(filesystem));
    }
    findings.push(match held {
        None => JOURNAL.fine("lock", "there is no journal yet"),
        Some(false) => JOURNAL.fine("lock", "no agent has it"),
        Some(true) => JOURNAL.fine("lock", "an agent that runs has it"),
    });
    findings
}

fn kind(magic: i64) -> Finding {
    let known = KNOWN.into_iter().find(|(known, ..)| *known == magic);
    let Some((_, name, keeps)) = known else {
        let detail = format!("of a kind that is not known here ({magic:#x})");
        return JOURNAL.fine("file system", detail);
    };
    match keeps {
        Keeps::Durably => JOURNAL.fine("file system", name),
        Keeps::UntilReboot => JOURNAL.warning(
            "file system",
            format!(
                "{name}: after a reboot the node holds nothing until the controller is reached"
            ),
            ELSEWHERE,
        ),
        Keeps::WithContainer => JOURNAL.warning(
            "file system",
            format!("{name}: a new container begins without it"),
            "mount a directory of the host there",
        ),
        Keeps::Uncertainly => JOURNAL.failed(
            "file system",
            format!("{name}: neither locks nor syncs can be relied on"),
            ELSEWHERE,
        ),
    }
}

fn space(Filesystem { free, .. }: &Filesystem) -> Finding {
    let detail = format!("{} MiB free", free / MIB);
    let advice = "make room: a full disk keeps the node from taking changes";
    match free {
        ..LEAST => JOURNAL.failed("space", detail, advice),
        LEAST..AMPLE => JOURNAL.warning("space", detail, advice),
        _ => JOURNAL.fine("space", detail),
    }
}
