//! How documents for programs are written. PURE.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::ctl::args::DocumentForm;

/// Writes a document that others follow.
pub(crate) fn streamed(document: &impl Serialize, form: DocumentForm) -> Result<String> {
    let text = written(document, form)?;
    Ok(match form {
        DocumentForm::Yaml => format!("---\n{text}"),
        DocumentForm::Json => text,
    })
}

/// Writes a document.
pub(crate) fn written(document: &impl Serialize, form: DocumentForm) -> Result<String> {
    match form {
        DocumentForm::Yaml => serde_saphyr::to_string(document).context("cannot write it as YAML"),
        DocumentForm::Json => {
            let text = serde_json::to_string_pretty(document);
            Ok(text.context("cannot write it as JSON")? + "\n")
        }
    }
}
