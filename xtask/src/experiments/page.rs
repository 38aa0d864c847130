//! Commands and images of a page.

use sha2::{Digest, Sha256};
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::Path;

/// A page of docs/experiments.
pub struct Page {
    /// The page's file name without the extension.
    pub name: String,
    /// The commands in its `sh` blocks.
    pub commands: Vec<Command>,
    /// The names of its PNGs.
    pub images: Vec<String>,
}

/// A line of a block, as a shell would parse it: quotes, comments and continued lines, nothing
/// else.
#[derive(Debug, PartialEq)]
pub struct Command {
    pub program: Program,
    pub arguments: Vec<String>,
    text: String,
}

#[derive(Debug, PartialEq)]
pub enum Program {
    Dcgan,
    Xtask,
}

impl Page {
    /// The pages of `names` in a folder, or all of them.
    pub fn read_all(folder: &Path, names: &[String]) -> Result<Vec<Page>, Box<dyn Error>> {
        let mut there: Vec<String> = fs::read_dir(folder)
            .map_err(|error| format!("cannot read {}: {error}", folder.display()))?
            .filter_map(|file| {
                file.ok()?.file_name().to_str()?.strip_suffix(".md").map(str::to_owned)
            })
            .collect();
        there.sort();
        if let Some(unknown) = names.iter().find(|name| !there.contains(name)) {
            return Err(format!(
                "no page {unknown:?} in {}; there are {}",
                folder.display(),
                there.join(", ")
            )
            .into());
        }
        let chosen = there.iter().filter(|name| names.is_empty() || names.contains(name));
        chosen
            .map(|name| Page::parse(name, &fs::read_to_string(folder.join(format!("{name}.md")))?))
            .collect()
    }

    /// Parses a page.
    pub fn parse(name: &str, text: &str) -> Result<Page, Box<dyn Error>> {
        let (mut commands, mut images, mut inside, mut line) =
            (Vec::new(), Vec::new(), false, String::new());
        for row in text.lines() {
            if row.starts_with("```") {
                inside = row == "```sh";
            } else if inside {
                line.push_str(row.strip_suffix('\\').unwrap_or(row));
                if !row.ends_with('\\') {
                    let read = Command::parse(&std::mem::take(&mut line))
                        .map_err(|error| format!("{name}.md: {error}"))?;
                    commands.extend(read);
                }
            } else {
                let files = row
                    .split("](")
                    .skip(1)
                    .filter_map(|rest| rest.split_once(')'))
                    .map(|(file, _)| file);
                images.extend(files.filter(|file| file.ends_with(".png")).map(str::to_owned));
            }
        }
        Ok(Page { name: name.to_owned(), commands, images })
    }
}

impl Command {
    /// `None` for a line with only a comment.
    fn parse(line: &str) -> Result<Option<Command>, String> {
        let words = shlex::split(line).ok_or_else(|| format!("an unclosed quote: {line}"))?;
        let (program, skip) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => return Ok(None),
            ["dcgan", ..] => (Program::Dcgan, 1),
            ["cargo", "xtask", ..] => (Program::Xtask, 2),
            _ => return Err(format!("neither dcgan nor cargo xtask: {line}")),
        };
        let text =
            shlex::try_join(words.iter().map(String::as_str)).map_err(|error| error.to_string())?;
        Ok(Some(Command { program, arguments: words.into_iter().skip(skip).collect(), text }))
    }

    /// The name of the file with its output.
    pub fn digest(&self) -> String {
        hex::encode(&Sha256::digest(self.text.as_bytes())[..6])
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_a_page_are_its_commands() {
        let text = "# A\n\n```sh\n# first\ndcgan walk --rows 7 \\\n    --grid a.png   # the \
                    image\n\ncargo xtask inject-duplicates --out 'x y'\n```\n\n\
                    ![A](a.png) and [b](b.md)\n\n```\nnot run\n```\n";
        let page = Page::parse("a", text).unwrap();
        let shown: Vec<_> =
            page.commands.iter().map(|c| (&c.program, c.arguments.join("|"))).collect();
        assert_eq!(
            shown,
            [
                (&Program::Dcgan, "walk|--rows|7|--grid|a.png".into()),
                (&Program::Xtask, "inject-duplicates|--out|x y".into())
            ]
        );
        assert_eq!(page.images, ["a.png"]);
        assert_ne!(page.commands[0].digest(), page.commands[1].digest());
    }

    #[test]
    fn other_programs_are_refused() {
        let error = Page::parse("a", "```sh\nrm -rf x\n```\n").err().expect("refused").to_string();
        assert!(error.contains("a.md") && error.contains("rm -rf x"), "{error}");
        assert!(Page::parse("a", "```sh\ndcgan 'x\n```\n").is_err());
    }

    #[test]
    fn the_pages_of_the_repository_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/experiments");
        let pages = Page::read_all(&folder, &[]).unwrap();
        assert!(pages.len() >= 4 && pages.iter().all(|page| !page.commands.is_empty()));
        for page in &pages {
            for image in &page.images {
                assert!(folder.join(image).exists(), "{}.md shows {image}", page.name);
                let made = page.commands.iter().any(|command| command.arguments.contains(image));
                assert!(made, "no command of {}.md makes {image}", page.name);
            }
        }
        let error =
            Page::read_all(&folder, &["nothing".into()]).err().expect("unknown").to_string();
        assert!(error.contains("latent"), "{error}");
    }
}
