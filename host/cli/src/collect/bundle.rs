//! The archive: everything that goes into it goes through the redaction, and is bounded.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::Value;

use super::redact;

/// No part is longer.
const PART: usize = 8 << 20;
/// All parts together.
const ALL: usize = 96 << 20;

/// What became of one part.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Its file.
    pub file: String,
    /// Bytes.
    pub bytes: usize,
    /// What is left out, or why there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// It could not be read.
    pub failed: bool,
}

/// An archive that is being written.
pub struct Bundle<W: Write> {
    archive: tar::Builder<GzEncoder<W>>,
    folder: String,
    now: u64,
    used: usize,
    /// No part is longer, in bytes.
    pub part: usize,
    /// What is in it.
    pub parts: Vec<Part>,
}

impl<W: Write> Bundle<W> {
    /// Begins one whose files are in a folder; `now` in seconds since 1970.
    pub fn new(to: W, folder: &str, now: u64) -> Self {
        let archive = tar::Builder::new(GzEncoder::new(to, Compression::default()));
        Self { archive, folder: folder.to_owned(), now, used: 0, part: PART, parts: Vec::new() }
    }

    /// Objects, as many as there is room for; those that come first are kept.
    pub fn objects(&mut self, file: &str, found: anyhow::Result<Vec<Value>>) -> anyhow::Result<()> {
        let mut items = match found {
            Ok(items) => items,
            Err(error) => return self.failed(file, &error),
        };
        let total = items.len();
        items.iter_mut().for_each(redact::value);
        let mut room = self.part;
        let fits = |item: &Value| {
            let length = item.to_string().len() * 2;
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        };
        let kept: Vec<Value> = {
            let mut fits = fits;
            items.into_iter().take_while(|item| fits(item)).collect()
        };
        let note = (kept.len() < total).then(|| format!("{} of {total} left out: no room", total - kept.len()));
        let text = serde_json::to_string_pretty(&serde_json::json!({ "items": kept }))?;
        self.write(file, &text, note, false)
    }

    /// One value.
    pub fn value(&mut self, file: &str, found: anyhow::Result<Value>) -> anyhow::Result<()> {
        match found {
            Ok(mut value) => {
                redact::value(&mut value);
                let text = serde_json::to_string_pretty(&value)?;
                if text.len() > self.part {
                    return self.failed(file, &anyhow::anyhow!("{} bytes are more than there is room for", text.len()));
                }
                self.write(file, &text, None, false)
            }
            Err(error) => self.failed(file, &error),
        }
    }

    /// A text; of one that is too long the end is kept.
    pub fn text(&mut self, file: &str, found: anyhow::Result<String>) -> anyhow::Result<()> {
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.failed(file, &error),
        };
        let text = redact::text(&found);
        let mut from = text.len().saturating_sub(self.part);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        let note = (from > 0).then(|| format!("the first {from} bytes are left out"));
        self.write(file, &text[from..], note, false)
    }

    fn failed(&mut self, file: &str, error: &anyhow::Error) -> anyhow::Result<()> {
        let why = redact::text(&format!("{error:#}"));
        self.write(&format!("{file}.error.txt"), &format!("{why}\n"), Some(why.clone()), true)
    }

    fn write(&mut self, file: &str, text: &str, note: Option<String>, failed: bool) -> anyhow::Result<()> {
        if self.used + text.len() > ALL {
            self.parts.push(Part {
                file: file.to_owned(),
                bytes: 0,
                note: Some("left out: no room".to_owned()),
                failed: true,
            });
            return Ok(());
        }
        self.used += text.len();
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(self.now);
        let path = format!("{}/{file}", self.folder);
        self.archive.append_data(&mut header, &path, text.as_bytes()).with_context(|| path.clone())?;
        self.parts.push(Part { file: file.to_owned(), bytes: text.len(), note, failed });
        Ok(())
    }

    /// Writes the list of parts, and ends the archive.
    pub fn finish(mut self, about: &str) -> anyhow::Result<(W, Vec<Part>)> {
        let mut text = format!("{about}\n");
        for part in &self.parts {
            let note = part.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:>9}  {}{note}", part.bytes, part.file);
        }
        self.used = 0;
        self.write("CONTENTS.txt", &text, None, false)?;
        let parts = std::mem::take(&mut self.parts);
        Ok((self.archive.into_inner()?.finish()?, parts))
    }
}
