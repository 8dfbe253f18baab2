//! `weirctl edit`.
//!
//! `draft` says what is opened and what was saved; this room opens it, and applies it unless somebody else changed the
//! resource meanwhile: what that one wrote is not lost unseen.

mod draft;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use weir_proto::wire;

use super::args::{DocumentForm, EditArgs, To};
use super::connect::{Controller, Found};
use super::manifest::{Manifests, in_file_words};
use super::names;
use super::outcome::{Trouble, print, tell};
use super::render::{reference, resources};
use super::wait::{About, Wait};
use draft::{Draft, Saved, only};

/// What names the editor, the first that is set.
const EDITORS: [&str; 3] = ["WEIR_EDITOR", "VISUAL", "EDITOR"];
/// What is there where none is.
const EDITOR: &str = "vi";
/// How often the cluster may change between two calls while the resource does not: it takes milliseconds.
const TRIES: usize = 8;

/// How an attempt to apply ended.
enum Applied {
    Done(wire::ApplyResponse),
    /// The controller does not take it, for these reasons.
    Refused(Vec<(Option<usize>, String)>),
    /// Somebody else changed it: this is what is there now.
    Conflict(Box<wire::Resource>),
}

/// Opens a resource, and applies what is saved.
pub(super) async fn run(to: &To, args: &EditArgs) -> Result<()> {
    let references = names::references(&args.what)
        .map_err(|why| Trouble::Usage(why.replace("to delete", "to edit")))?;
    let [of] = references.as_slice() else {
        return Err(Trouble::Usage("one resource is edited at a time".to_owned()).into());
    };
    let controller = Controller::connect(to).await?;
    let resource = find(&controller, of).await?;
    let mut revision = resource.revision;
    let mut draft = Draft::new(
        of.clone(),
        resources(&[resource], true, DocumentForm::Yaml)?,
    );
    let copy = Copy::new(of)?;
    loop {
        let again = !draft.reasons.is_empty();
        let saved = copy.edit(&draft.text())?;
        let (manifests, body) = match draft.saved(&saved) {
            Saved::Unchanged if again => {
                return Err(copy.kept(anyhow!("Edit cancelled, no valid changes were saved")));
            }
            Saved::Unchanged => {
                copy.forget();
                tell("Edit cancelled, no changes made.");
                return Ok(());
            }
            Saved::Wrong(wrong) => {
                draft = wrong;
                continue;
            }
            Saved::Changed(manifests, body) => (manifests, body),
        };
        match apply(&controller, &manifests, of, revision, args).await {
            Ok(Applied::Done(answer)) => {
                copy.forget();
                return done(&controller, of, answer, manifests, args).await;
            }
            Ok(Applied::Refused(reasons)) => draft = draft.refused(&body, reasons),
            Ok(Applied::Conflict(now)) => {
                let reason = format!(
                    "it was changed meanwhile: bring both together, and set metadata.revision to {}",
                    now.revision
                );
                revision = now.revision;
                draft = draft.refused(&body, vec![(None, reason)]);
                draft.now = Some(resources(&[*now], true, DocumentForm::Yaml)?);
            }
            Err(error) => return Err(copy.kept(error)),
        }
    }
}

async fn find(controller: &Controller, of: &wire::ResourceRef) -> Result<wire::Resource> {
    let Found { resources, missing } = controller.find(std::slice::from_ref(of)).await?;
    let found = only(resources, of);
    found.ok_or_else(|| Trouble::missing(&missing, "").into())
}

/// Applies what was saved if the resource is still at the revision at which it was opened.
async fn apply(
    controller: &Controller,
    manifests: &Manifests,
    of: &wire::ResourceRef,
    opened: u64,
    args: &EditArgs,
) -> Result<Applied> {
    let mut client = controller.client.clone();
    for _ in 0..TRIES {
        // what is expected of a write is the revision of the cluster, and others may write what is not edited
        let page = wire::ListRequest {
            kind: of.kind,
            page_size: 1,
            page_token: String::new(),
        };
        let cluster = controller.answer(client.list(page)).await?.revision;
        let now = find(controller, of).await?;
        if now.revision != opened {
            return Ok(Applied::Conflict(Box::new(now)));
        }
        let request = wire::ApplyRequest {
            resources: manifests.resources(),
            dry_run: false,
            expected_revision: Some(cluster),
            allow_mass_delete: args.allow_mass_delete,
            canary: None,
        };
        match controller.attempt(client.apply(request)).await {
            Ok(answer) => return Ok(Applied::Done(answer)),
            Err(status) if status.code() == Code::Aborted => {}
            Err(status) if status.code() == Code::InvalidArgument => {
                return Ok(Applied::Refused(reasons(&status, manifests)));
            }
            Err(status) => return Err(controller.refusal(&status)),
        }
    }
    Err(anyhow!(
        "the cluster was changed by others {TRIES} times in between; nothing was changed"
    ))
}

/// Brings what the controller refuses to the lines it was written on.
fn reasons(status: &Status, manifests: &Manifests) -> Vec<(Option<usize>, String)> {
    let details = status.get_details_bad_request();
    let fields = details.map_or_else(Vec::new, |details| details.field_violations);
    if fields.is_empty() {
        return vec![(None, status.message().to_owned())];
    }
    let reasons = fields.iter().map(|field| {
        let line = manifests.locate(&field.field).map(|(_, line)| line);
        (
            line,
            format!("{}: {}", in_file_words(&field.field), field.description),
        )
    });
    reasons.collect()
}

async fn done(
    controller: &Controller,
    of: &wire::ResourceRef,
    answer: wire::ApplyResponse,
    manifests: Manifests,
    args: &EditArgs,
) -> Result<()> {
    let unchanged = wire::change::Outcome::Unchanged;
    if answer
        .changes
        .iter()
        .all(|change| change.outcome() == unchanged)
    {
        tell("Edit cancelled, no changes made.");
        return Ok(());
    }
    print(&format!("{} edited\n", reference(of)))?;
    if args.wait {
        let wait = Wait::new(answer.targets, About::new(manifests.resources()));
        wait.until_converged(controller, answer.revision, args.wait_timeout)
            .await?;
    }
    Ok(())
}

/// The file that is edited.
struct Copy {
    path: PathBuf,
}

impl Copy {
    /// Finds a name for it, of which nobody has a file.
    fn new(of: &wire::ResourceRef) -> Result<Self> {
        let name = reference(of).replace('/', "-");
        let (process, now) = (std::process::id(), super::now());
        let path = std::env::temp_dir().join(format!("weirctl-edit-{name}-{process}-{now}.yaml"));
        let mut make = OpenOptions::new();
        let made = make.write(true).create_new(true).mode(0o600).open(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Lets somebody edit a text, and gives what was saved.
    fn edit(&self, text: &str) -> Result<String> {
        let opened = fs::write(&self.path, text);
        opened.with_context(|| format!("cannot write {}", self.path.display()))?;
        if let Err(error) = open(&self.path) {
            self.forget();
            return Err(error);
        }
        let saved = fs::read_to_string(&self.path);
        saved.with_context(|| format!("cannot read {}", self.path.display()))
    }

    fn forget(&self) {
        // a file more in a directory for such files is no failure
        let _ = fs::remove_file(&self.path);
    }

    /// Says where what was saved is.
    fn kept(&self, error: anyhow::Error) -> anyhow::Error {
        tell(&format!(
            "A copy of your changes has been stored to {:?}",
            self.path.display().to_string()
        ));
        error
    }
}

/// Runs the editor, which is a command line and not only a program.
fn open(path: &Path) -> Result<()> {
    let named = EDITORS
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let editor = named.unwrap_or_else(|| EDITOR.to_owned());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{editor} \"$@\""), "weirctl edit"])
        .arg(path);
    let ended = shell
        .status()
        .map_err(|error: io::Error| anyhow!("cannot run {editor:?}: {error}"))?;
    match ended.success() {
        true => Ok(()),
        false => Err(anyhow!(
            "the editor {editor:?} failed: {ended}; nothing was changed"
        )),
    }
}
