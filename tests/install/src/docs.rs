//! The pages of `deploy/docs`: what they print is taken by a real API server, and does what they say.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::readme::Readme;

/// Every YAML document of every page is accepted as it stands; nothing is kept.
pub async fn yaml(deploy: &Path, readme: &Readme) -> anyhow::Result<()> {
    let (mut pages, mut documents) = (0, 0);
    for page in pages_of(deploy)? {
        let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        for block in blocks(&text, "yaml") {
            let script = format!("kubectl apply --dry-run=server --validate=strict --filename - <<'END'\n{block}END\n");
            let said = readme.shell(&script).await.with_context(|| format!("{}:\n{block}", page.display()))?;
            documents += said.lines().filter(|line| line.contains("server dry run")).count();
        }
        pages += 1;
    }
    ensure!(pages > 5 && documents >= 10, "only {documents} documents on {pages} pages were found");
    eprintln!("    {documents} YAML documents on {pages} pages are accepted");
    Ok(())
}

/// The commands that look: each line of the marked blocks, about a node.
pub async fn commands(deploy: &Path, readme: &Readme, node: &str) -> anyhow::Result<()> {
    let mut ran = 0;
    for page in pages_of(deploy)? {
        let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        for (_, marked) in text.match_indices("<!-- test: docs -->").map(|(at, mark)| text.split_at(at + mark.len())) {
            let block = blocks(marked, "sh").next().with_context(|| format!("{}: no block", page.display()))?;
            for line in block.lines().filter(|line| !line.trim().is_empty()) {
                let (code, said) = readme.try_shell(&format!("NODE={node}\n{line}")).await?;
                // These say by their code how it stands; that is an answer.
                let answered = matches!(code, Some(0)) || line.starts_with("palisade") && matches!(code, Some(3 | 4));
                ensure!(answered, "{}: {line}\nended with {code:?}:\n{said}", page.display());
                ran += 1;
            }
        }
    }
    ensure!(ran > 5, "only {ran} commands were found");
    eprintln!("    {ran} commands of the pages were run");
    Ok(())
}

fn pages_of(deploy: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let folder = deploy.join("docs");
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        pages.push(entry?.path());
    }
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    Ok(pages)
}

fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let mark = format!("```{language}\n");
    let begins: Vec<usize> = text.match_indices(&mark).map(|(at, mark)| at + mark.len()).collect();
    begins.into_iter().filter_map(move |at| text[at..].split_once("```").map(|(block, _)| block))
}
