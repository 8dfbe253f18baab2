//! Whom a command calls: flag before environment before the file of contexts; and `weirctl config`, which keeps that file.
//!
//! The file is replaced whole, readable by its owner alone: who is cut off leaves the old one or the new one.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::args::{ConfigArgs, ConfigCommand, GetContextsArgs, Given, To, url};
use super::manifest::{Context, Contexts};
use super::outcome::{Trouble, plain, print, style, tell};
use super::render::{Grid, Table, counted};

/// Where the file is below the directory of configuration.
const PLACE: &str = "weir/config.yaml";
/// Whom to call when nobody says.
const CONTROLLER: &str = "http://127.0.0.1:7420";

/// The file of contexts.
struct File {
    path: PathBuf,
    /// It was named, and must be there.
    named: bool,
}

/// Says whom to call.
pub(super) fn resolve(given: Given) -> Result<To> {
    let chosen = given.context.clone().filter(|name| !name.is_empty());
    let context = match (&chosen, &given.controller) {
        // what is said in the file is meant for the controller that it names
        (None, Some(_)) => Context::default(),
        _ => context(&given, chosen.as_deref())?,
    };
    let Given {
        controller,
        tls_cert,
        tls_key,
        tls_ca,
        insecure,
        timeout,
        config: _,
        context: _,
        // whoever asks an agent asks no controller
        agent: _,
    } = given;
    Ok(To {
        controller: controller
            .or(context.controller)
            .unwrap_or_else(|| CONTROLLER.to_owned()),
        tls_cert: tls_cert.or(context.tls_cert.map(PathBuf::from)),
        tls_key: tls_key.or(context.tls_key.map(PathBuf::from)),
        tls_ca: tls_ca.or(context.tls_ca.map(PathBuf::from)),
        insecure: insecure || context.insecure,
        timeout,
    })
}

/// Gives a context, its paths from the root on; nothing is said in it where there is none.
fn context(given: &Given, chosen: Option<&str>) -> Result<Context> {
    let Some(file) = File::of(given) else {
        return match chosen {
            Some(name) => Err(anyhow!(
                "there is no context {name:?}: neither HOME nor XDG_CONFIG_HOME is set"
            )),
            None => Ok(Context::default()),
        };
    };
    let contexts = file.read()?;
    let Some(name) = chosen.or(contexts.current.as_deref()) else {
        return Ok(Context::default());
    };
    let found = contexts.named(name).cloned();
    let mut context = found.ok_or_else(|| file.no_context(name, &contexts))?;
    let home = file.path.parent().unwrap_or(Path::new(""));
    for path in [
        &mut context.tls_cert,
        &mut context.tls_key,
        &mut context.tls_ca,
    ] {
        // what is absolute stays
        *path = path
            .take()
            .map(|path| home.join(path).display().to_string());
    }
    Ok(context)
}

/// Gives the names of all contexts.
pub(super) fn names(given: &Given) -> Result<Vec<String>> {
    let contexts = File::of(given).map(|file| file.read()).transpose()?;
    let contexts = contexts.unwrap_or_default().contexts.into_iter();
    Ok(contexts.map(|context| context.name).collect())
}

/// Shows and changes the file. `written` is what stands on the command line itself.
pub(super) fn run(given: &Given, written: &Given, args: &ConfigArgs) -> Result<()> {
    let file = File::of(given).ok_or_else(|| {
        Trouble::Usage("neither HOME nor XDG_CONFIG_HOME is set: give --config".to_owned())
    })?;
    match &args.command {
        ConfigCommand::GetContexts(args) => list(&file, args),
        ConfigCommand::CurrentContext => match file.read()?.current {
            Some(name) => print(&format!("{name}\n")),
            None => Err(anyhow!(
                "no current context is set; weirctl config use-context NAME"
            )),
        },
        ConfigCommand::View => print(&file.read()?.write()?),
        ConfigCommand::UseContext(args) => {
            let mut contexts = file.read()?;
            if contexts.named(&args.name).is_none() {
                return Err(file.no_context(&args.name, &contexts));
            }
            contexts.current = Some(args.name.clone());
            file.write(&contexts)?;
            print(&format!("Switched to context {:?}.\n", args.name))
        }
        ConfigCommand::SetContext(args) => {
            let mut contexts = file.read_or_begin()?;
            let done = match contexts.contexts.iter_mut().find(|it| it.name == args.name) {
                Some(context) => {
                    set(context, written)?;
                    "modified"
                }
                None => {
                    let mut context = Context {
                        name: args.name.clone(),
                        ..Context::default()
                    };
                    set(&mut context, written)?;
                    contexts.contexts.push(context);
                    "created"
                }
            };
            file.write(&contexts)?;
            print(&format!("Context {:?} {done}.\n", args.name))
        }
        ConfigCommand::DeleteContext(args) => {
            let mut contexts = file.read()?;
            if contexts.named(&args.name).is_none() {
                return Err(file.no_context(&args.name, &contexts));
            }
            contexts
                .contexts
                .retain(|context| context.name != args.name);
            let was_current = contexts.current.take_if(|current| *current == args.name);
            file.write(&contexts)?;
            if was_current.is_some() {
                tell(
                    "warning: this was the current context; weirctl config use-context NAME sets another",
                );
            }
            print(&format!(
                "deleted context {} from {}\n",
                args.name,
                file.path.display()
            ))
        }
    }
}

/// Takes what is said on the command line into a context; paths from the root on, since they hold in any directory.
fn set(context: &mut Context, written: &Given) -> Result<()> {
    if let Some(controller) = &written.controller {
        context.controller = Some(controller.clone());
    }
    for (path, kept) in [
        (&written.tls_cert, &mut context.tls_cert),
        (&written.tls_key, &mut context.tls_key),
        (&written.tls_ca, &mut context.tls_ca),
    ] {
        if let Some(path) = path {
            let whole = std::path::absolute(path);
            let whole =
                whole.with_context(|| format!("cannot find where {} is", path.display()))?;
            *kept = Some(whole.display().to_string());
        }
    }
    context.insecure |= written.insecure;
    Ok(())
}

fn list(file: &File, args: &GetContextsArgs) -> Result<()> {
    let contexts = file.read()?;
    let missing = args
        .names
        .iter()
        .filter(|name| contexts.named(name).is_none());
    let missing: Vec<String> = missing.map(|name| format!("context {name:?}")).collect();
    let shown = contexts
        .contexts
        .iter()
        .filter(|it| args.names.is_empty() || args.names.contains(&it.name));
    let text = match args.output {
        Some(_) => shown.map(|context| format!("{}\n", context.name)).collect(),
        None => {
            let none = || "<none>".to_owned();
            let rows = shown.map(|context| {
                let current = contexts.current.as_ref() == Some(&context.name);
                vec![
                    if current {
                        "*".to_owned()
                    } else {
                        String::new()
                    },
                    context.name.clone(),
                    context.controller.clone().unwrap_or_else(none),
                    context.tls_cert.clone().unwrap_or_else(none),
                ]
            });
            table(rows.collect(), args.no_headers)
        }
    };
    print(&text)?;
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Trouble::absent(missing, "").into()),
    }
}

fn table(rows: Vec<Vec<String>>, without_headers: bool) -> String {
    let table = Table {
        header: vec!["CURRENT", "NAME", "CONTROLLER", "CERTIFICATE"],
        rows,
    };
    let mut grid = Grid::new(table.header.clone(), style());
    match without_headers {
        true => grid.rows(&table.rows),
        false => grid.with_header(&table.rows),
    }
}

impl File {
    /// Finds the file: the one that is named, or the user's own; none: nobody says where that would be.
    fn of(given: &Given) -> Option<Self> {
        if let Some(path) = given
            .config
            .clone()
            .filter(|path| !path.as_os_str().is_empty())
        {
            return Some(Self { path, named: true });
        }
        // a path that is not absolute is to be taken for none (XDG Base Directory Specification)
        let absolute = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let home = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        Some(Self {
            path: home?.join(PLACE),
            named: false,
        })
    }

    fn read(&self) -> Result<Contexts> {
        self.read_unless_absent(self.named)
    }

    /// As [`Self::read`], where the file may be written for the first time.
    fn read_or_begin(&self) -> Result<Contexts> {
        self.read_unless_absent(false)
    }

    fn read_unless_absent(&self, must: bool) -> Result<Contexts> {
        let name = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must => String::new(),
            Err(error) => {
                return Err(anyhow!(
                    "cannot read the contexts in {name}: {}",
                    plain(&error)
                ));
            }
        };
        Contexts::read(&text, url).map_err(|problems| {
            let summary = counted(problems.len(), "problem");
            let details = problems.iter().map(|problem| format!("{name}:{problem}"));
            Trouble::Detailed {
                details: details.collect(),
                summary: format!("{summary} in the file of contexts"),
            }
            .into()
        })
    }

    /// Puts contexts in the place of those that are there.
    fn write(&self, contexts: &Contexts) -> Result<()> {
        let doing = || format!("cannot write {}", self.path.display());
        let text = contexts.write()?;
        // what a link leads to is written, and stays where it is
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700);
        make.create(directory).with_context(doing)?;
        let new = directory.join(format!(".config.yaml.{}", std::process::id()));
        let written = put(&new, &text).and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            // the error says more than that this could not be tidied up
            let _ = fs::remove_file(&new);
        }
        written.with_context(doing)
    }

    fn no_context(&self, name: &str, contexts: &Contexts) -> anyhow::Error {
        let names: Vec<&str> = contexts
            .contexts
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        let there = match names.as_slice() {
            [] => "it has none".to_owned(),
            names => format!("there is {}", names.join(", ")),
        };
        anyhow!("no context {name:?} in {} ({there})", self.path.display())
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
