//! The language as pages: its comments, with where each belongs, are in the descriptors that the build makes of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};
use weir_proto::wire;

use super::cell;

const PACKAGE: &str = "weir.v1";
/// The enumeration of why calls are refused.
const REASONS: &str = "ErrorReason";

// google/protobuf/descriptor.proto: the numbers of the fields that a path to a comment is made of
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const FILE_SYNTAX: i32 = 12;
const SERVICE_METHOD: i32 = 2;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const ENUM_VALUE: i32 = 2;

/// Everything that is said in one file.
struct File {
    descriptor: FileDescriptorProto,
    comments: BTreeMap<Vec<i32>, String>,
}

/// The files of the language.
pub(super) struct Language {
    files: Vec<File>,
}

impl Language {
    /// Reads what the build put into the programs.
    pub(super) fn read() -> Result<Self> {
        let set =
            FileDescriptorSet::decode(wire::DESCRIPTORS).context("reading the descriptors")?;
        let files = set.file.into_iter();
        let ours = files.filter(|file| file.package() == PACKAGE);
        let files = ours.map(|descriptor| File {
            comments: comments(&descriptor),
            descriptor,
        });
        Ok(Self {
            files: files.collect(),
        })
    }

    /// Sets every call, message and enumeration.
    pub(super) fn page(&self) -> String {
        let mut text = format!("# {PACKAGE}\n");
        for file in &self.files {
            let name = file.descriptor.name();
            text += &format!("\n## {name}\n\n{}", file.paragraph(&[FILE_SYNTAX]));
            for (at, service) in numbered(&file.descriptor.service) {
                let path = [FILE_SERVICE, at];
                text += &format!("\n### {}\n\n{}", service.name(), file.paragraph(&path));
                for (at, method) in numbered(&service.method) {
                    let stream = |streams: bool| if streams { "stream " } else { "" };
                    let path = [&path[..], &[SERVICE_METHOD, at]].concat();
                    text += &format!(
                        "\n#### {}.{}\n\n({}{}) returns ({}{})\n\n{}",
                        service.name(),
                        method.name(),
                        stream(method.client_streaming()),
                        linked(method.input_type()),
                        stream(method.server_streaming()),
                        linked(method.output_type()),
                        file.paragraph(&path)
                    );
                }
            }
            for (at, message) in numbered(&file.descriptor.message_type) {
                file.message(&mut text, message, "", &[FILE_MESSAGE, at]);
            }
            for (at, one) in numbered(&file.descriptor.enum_type) {
                file.enumeration(&mut text, one, "", &[FILE_ENUM, at]);
            }
        }
        text
    }

    /// Sets why calls are refused.
    pub(super) fn errors(&self) -> Result<String> {
        let mut text = "# Reasons\n\nThe `reason` of the `google.rpc.ErrorInfo` in the details of a status; its `domain` is `weir`. In \
                        brackets, what its `metadata` names.\n\n| reason | number | status | why |\n|---|---|---|---|\n"
            .to_owned();
        let mut enumerations = self.files.iter().flat_map(|file| {
            let all = numbered(&file.descriptor.enum_type);
            all.map(move |(at, one)| (file, at, one))
        });
        let (file, at, reasons) = enumerations
            .find(|(_, _, one)| one.name() == REASONS)
            .context("the language has no reasons")?;
        for (place, value) in numbered(&reasons.value) {
            if value.number() == 0 {
                continue;
            }
            let said = file.comment(&[FILE_ENUM, at, ENUM_VALUE, place]);
            let (status, why) = said.split_once('.').unwrap_or(("", &said));
            text += &format!(
                "| `{}` | {} | {status} | {} |\n",
                value.name(),
                value.number(),
                cell(why.trim())
            );
        }
        Ok(text)
    }
}

impl File {
    fn comment(&self, path: &[i32]) -> String {
        self.comments.get(path).cloned().unwrap_or_default()
    }

    /// Gives a comment as paragraphs with a line's end behind the last.
    fn paragraph(&self, path: &[i32]) -> String {
        let comment = self.comment(path);
        match comment.as_str() {
            "" => String::new(),
            comment => comment.replace('<', "&lt;") + "\n",
        }
    }

    fn message(&self, text: &mut String, message: &DescriptorProto, within: &str, path: &[i32]) {
        if message.options.as_ref().is_some_and(|it| it.map_entry()) {
            return;
        }
        let name = format!("{within}{}", message.name());
        *text += &format!("\n### {name}\n\n{}", self.paragraph(path));
        if !message.field.is_empty() {
            *text += "\n| field | number | type | what |\n|---|---|---|---|\n";
        }
        for (at, field) in numbered(&message.field) {
            let what = cell(&self.comment(&[path, &[MESSAGE_FIELD, at]].concat()));
            let of = typed(field, message);
            *text += &format!(
                "| `{}` | {} | {of} | {what} |\n",
                field.name(),
                field.number()
            );
        }
        let within = format!("{name}.");
        for (at, nested) in numbered(&message.nested_type) {
            self.message(
                text,
                nested,
                &within,
                &[path, &[MESSAGE_NESTED, at]].concat(),
            );
        }
        for (at, one) in numbered(&message.enum_type) {
            self.enumeration(text, one, &within, &[path, &[MESSAGE_ENUM, at]].concat());
        }
    }

    fn enumeration(
        &self,
        text: &mut String,
        one: &EnumDescriptorProto,
        within: &str,
        path: &[i32],
    ) {
        *text += &format!(
            "\n### {within}{}\n\n{}\n| value | number | what |\n|---|---|---|\n",
            one.name(),
            self.paragraph(path)
        );
        for (at, value) in numbered(&one.value) {
            let what = cell(&self.comment(&[path, &[ENUM_VALUE, at]].concat()));
            *text += &format!("| `{}` | {} | {what} |\n", value.name(), value.number());
        }
    }
}

/// Gives what stands before each thing of a file, without the space after each `//`.
fn comments(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    let info = file.source_code_info.clone().unwrap_or_default();
    let mut comments = BTreeMap::new();
    for location in info.location {
        let lines = location.leading_comments().lines();
        let lines: Vec<&str> = lines
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect();
        let comment = lines.join("\n").trim().to_owned();
        if !comment.is_empty() {
            comments.insert(location.path, comment);
        }
    }
    comments
}

/// Gives each thing with its place, as paths have it.
fn numbered<T>(things: &[T]) -> impl Iterator<Item = (i32, &T)> {
    (0..).zip(things)
}

/// Gives a field's type as the language writes it.
fn typed(field: &FieldDescriptorProto, within: &DescriptorProto) -> String {
    let entry = within.nested_type.iter().find(|nested| {
        let is_map = nested.options.as_ref().is_some_and(|it| it.map_entry());
        is_map && field.type_name().ends_with(&format!(".{}", nested.name()))
    });
    if let Some(entry) = entry {
        let of: Vec<String> = entry
            .field
            .iter()
            .map(|field| typed(field, entry))
            .collect();
        return format!("map&lt;{}>", of.join(", "));
    }
    let name = match field.r#type() {
        Type::Message | Type::Enum => linked(field.type_name()),
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    };
    let label = match field.label() {
        Label::Repeated => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ if field.oneof_index.is_some() => "oneof ",
        _ => "",
    };
    format!("{label}{name}")
}

/// Names a type and leads to it, where it is of the language.
fn linked(name: &str) -> String {
    let ours = name
        .strip_prefix('.')
        .and_then(|name| name.strip_prefix(PACKAGE));
    match ours.and_then(|name| name.strip_prefix('.')) {
        Some(name) => format!("[{name}](#{})", name.replace('.', "").to_lowercase()),
        None => name.trim_start_matches('.').to_owned(),
    }
}
