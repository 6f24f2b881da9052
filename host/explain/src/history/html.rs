//! The same as a page of its own, for a report: no script, nothing from elsewhere.

use std::fmt::Write as _;

use serde_json::Value;

use super::{History, Told};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
    :root{color-scheme:light dark}table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;\
    padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8886}caption{text-align:left;font-weight:600;padding:1rem 0 .25rem}";

impl History {
    /// As HTML.
    pub fn html(&self) -> String {
        let name = escaped(&self.name);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>History of {name}</title>\n\
             <style>{STYLE}</style>\n<h1>History of {name}</h1>\n"
        );
        for one in &self.remediations {
            remediation(&mut page, one);
        }
        let events = self
            .events
            .iter()
            .map(|said| vec![said.at.to_string(), said.of.clone(), said.reason.clone(), said.message.clone()]);
        table(&mut page, "Events", &["at", "of", "reason", "message"], events);
        for gap in &self.gaps {
            // Writing to a string cannot fail.
            let _ = writeln!(page, "<p>Not read: {}</p>", escaped(gap));
        }
        page + "</html>\n"
    }
}

fn remediation(page: &mut String, one: &Told) {
    let _ = writeln!(page, "<h2>{} of node {}</h2>", escaped(&one.remediation), escaped(&one.node));
    let steps = one.timeline.iter().map(|step| {
        let after = step.after.map_or_else(String::new, |seconds| format!("+{seconds} s"));
        vec![step.at.to_string(), after, step.stage.clone(), step.detail.clone().unwrap_or_default()]
    });
    table(page, "Timeline", &["at", "after", "stage", "more"], steps);
    for (title, part) in [
        ("Where the time went", one.spent.as_ref().map(serde_json::to_value)),
        ("Fencing certificate", one.certificate.as_ref().map(serde_json::to_value)),
    ] {
        let Some(Ok(Value::Object(fields))) = part else { continue };
        let rows = fields.into_iter().map(|(field, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            vec![field, value]
        });
        table(page, title, &["field", "value"], rows);
    }
}

fn table(page: &mut String, title: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = write!(page, "<table><caption>{title}</caption><thead><tr>");
    for cell in head {
        page.extend(["<th scope=\"col\">", cell, "</th>"]);
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in &row {
            page.extend(["<td>", &escaped(cell), "</td>"]);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n");
}

/// Text that others wrote is shown, and is not markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}
