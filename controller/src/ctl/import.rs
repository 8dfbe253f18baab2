//! `weirctl import`: what people have, as resources of weir.
//!
//! Text is read by pure rooms; this one opens files and says what came of it. No controller is called, and no kernel is
//! written to. Standard output carries the resources, standard error what could not be carried over.

mod draft;
mod files;
mod ipvsadm;
mod keepalived;
mod live;
mod services;

#[cfg(test)]
mod tests;

use anyhow::Result;
use weir_proto::wire;
use weir_proto::wire::resource::Kind;

use super::args::{DocumentForm, ImportArgs, Source};
use super::outcome::{Trouble, print, tell};
use super::render::{self, counted};
use draft::Read;

/// Reads what is named, and writes it as resources that can be applied.
pub(super) fn run(args: &ImportArgs) -> Result<()> {
    let read = match &args.source {
        Source::Keepalived(args) => {
            let file = files::open(&args.file)?;
            let config_id = args.config_id.as_deref();
            keepalived::read(&file, config_id, &mut files::beside)
        }
        Source::Ipvsadm(args) => {
            let file = files::open(&args.file)?;
            ipvsadm::read(&file.name, &file.text)
        }
        Source::KubeProxy => {
            let live = live::read(&live::Machine::this())?;
            tell(&live.said);
            live.read
        }
    };
    let made = conclude(read)?;
    print(&render::resources(
        &made.resources,
        made.resources.len() == 1,
        DocumentForm::Yaml,
    )?)?;
    for line in made.lines {
        tell(&line);
    }
    Ok(())
}

/// What was made of what was read, and what is to be said of it.
#[derive(Debug, PartialEq)]
struct Made {
    resources: Vec<wire::Resource>,
    lines: Vec<String>,
}

/// Makes resources of what was read; nothing of it where something cannot be read.
fn conclude(mut read: Read) -> Result<Made, Trouble> {
    if !read.faults.is_empty() {
        let faults = std::mem::take(&mut read.faults);
        let summary = counted(faults.len(), "problem") + "; nothing was imported";
        let details = read.lines(faults);
        return Err(Trouble::Detailed { details, summary });
    }
    let mut notes = std::mem::take(&mut read.notes);
    let resources = services::resources(&read.servers, &mut notes);
    let lost = notes.len();
    let mut lines = read.lines(notes);
    if resources.is_empty() {
        let file = read.files.first().map_or("", String::as_str);
        let summary = format!("no service to import in {file}");
        let details = lines;
        return Err(Trouble::Detailed { details, summary });
    }
    let services = resources
        .iter()
        .filter_map(|resource| match &resource.kind {
            Some(Kind::Service(service)) => Some(service),
            _ => None,
        });
    let services: Vec<&wire::Service> = services.collect();
    let backends = services.iter().map(|service| service.backends.len()).sum();
    lines.push(format!(
        "{} with {}; {}",
        counted(services.len(), "service"),
        counted(backends, "backend"),
        match lost {
            0 => "everything was carried over".to_owned(),
            lost => format!("not carried over: {}, named above", counted(lost, "thing")),
        }
    ));
    let mut frontends = services.iter().flat_map(|service| &service.frontends);
    if frontends.any(|frontend| frontend.firewall_mark == 0) {
        lines.push(
            "On a VIP weir takes new connections to the ports of services alone; where something else listens on one, \
             write lockdown: false."
                .to_owned(),
        );
    }
    Ok(Made { resources, lines })
}
