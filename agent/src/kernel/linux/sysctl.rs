//! Kernel settings under `/proc/sys`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Why a setting cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// This kernel, or this network namespace, does not have it; its module may not be loaded.
    #[error("sysctl {0} does not exist")]
    Absent(String),
    /// It may not be touched: no root, a read-only `/proc/sys` in a container, or a setting that only the
    /// first network namespace may write.
    #[error("sysctl {name} is out of reach")]
    Denied {
        /// The setting.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The kernel does not take this value.
    #[error("sysctl {name} does not take {value:?}")]
    Refused {
        /// The setting.
        name: String,
        /// The value.
        value: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The name could lead out of `/proc/sys`.
    #[error("{0:?} is not the name of a sysctl")]
    Name(String),
    /// Something else failed.
    #[error("sysctl {name} failed")]
    Io {
        /// The setting.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The settings of this process' network namespace.
#[derive(Clone, Debug)]
pub struct Sysctl {
    root: PathBuf,
}

impl Default for Sysctl {
    fn default() -> Self {
        Self::at("/proc/sys")
    }
}

impl Sysctl {
    /// Takes another directory for `/proc/sys`, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Reads a setting, without the line end.
    ///
    /// Names are dotted as `sysctl(8)` takes them; a slash stands for a dot inside a part, as in
    /// `net.ipv4.conf.eth0/100.rp_filter`.
    pub fn read(&self, name: &str) -> Result<String, SysctlError> {
        let text = fs::read_to_string(self.path(name)?).map_err(|source| error(name, source))?;
        Ok(text.trim_end().to_owned())
    }

    /// Writes a setting.
    pub fn write(&self, name: &str, value: &str) -> Result<(), SysctlError> {
        let path = self.path(name)?;
        // a setting is a file that exists: one that does not must not be created
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(|source| error(name, source))?;
        io::Write::write_all(&mut file, value.as_bytes()).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidInput => SysctlError::Refused {
                name: name.to_owned(),
                value: value.to_owned(),
                source,
            },
            _ => error(name, source),
        })
    }

    fn path(&self, name: &str) -> Result<PathBuf, SysctlError> {
        let mut path = self.root.clone();
        for part in name.split('.') {
            let part = part.replace('/', ".");
            if part.is_empty() || part == "." || part == ".." {
                return Err(SysctlError::Name(name.to_owned()));
            }
            path.push(Path::new(&part));
        }
        Ok(path)
    }
}

fn error(name: &str, source: io::Error) -> SysctlError {
    let name = name.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => SysctlError::Absent(name),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            SysctlError::Denied { name, source }
        }
        _ => SysctlError::Io { name, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctl() -> (tempfile::TempDir, Sysctl) {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("net/ipv4/conf/eth0.100")).expect("directories");
        let sysctl = Sysctl::at(root.path());
        (root, sysctl)
    }

    #[test]
    fn a_setting_is_read_without_its_line_end_and_written_as_it_is() {
        let (root, sysctl) = sysctl();
        let file = root.path().join("net/ipv4/ip_forward");
        fs::write(&file, "0\n").expect("a file");
        assert_eq!(sysctl.read("net.ipv4.ip_forward").expect("readable"), "0");
        sysctl.write("net.ipv4.ip_forward", "1").expect("writable");
        // a file keeps what a shorter write leaves; a setting takes the write as the whole value
        assert_eq!(fs::read(&file).expect("a file"), b"1\n");
    }

    #[test]
    fn a_slash_stands_for_a_dot_inside_a_part() {
        let (root, sysctl) = sysctl();
        fs::write(root.path().join("net/ipv4/conf/eth0.100/rp_filter"), "2\n").expect("a file");
        assert_eq!(
            sysctl
                .read("net.ipv4.conf.eth0/100.rp_filter")
                .expect("readable"),
            "2"
        );
    }

    #[test]
    fn an_absent_setting_is_told_from_a_denied_one_and_never_created() {
        let (root, sysctl) = sysctl();
        let absent = sysctl.write("net.ipv4.vs.conntrack", "1");
        assert!(
            matches!(absent, Err(SysctlError::Absent(name)) if name == "net.ipv4.vs.conntrack")
        );
        let absent = sysctl.write("net.ipv4.nothing", "1");
        assert!(matches!(absent, Err(SysctlError::Absent(_))), "{absent:?}");
        assert!(!root.path().join("net/ipv4/nothing").exists());
        // a directory is what even root cannot write
        assert!(matches!(
            sysctl.write("net.ipv4.conf", "1"),
            Err(SysctlError::Io { .. })
        ));
        let denied = error("a", io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(matches!(denied, SysctlError::Denied { .. }));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let (_root, sysctl) = sysctl();
        for name in ["", "net..ipv4", "net.//.x", "/.net", "net."] {
            assert!(
                matches!(sysctl.read(name), Err(SysctlError::Name(_))),
                "{name}"
            );
        }
    }
}
