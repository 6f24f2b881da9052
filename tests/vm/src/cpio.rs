//! An initramfs archive ("newc" format), written without a tool: the kernel reads nothing else.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes entries in the order they are added; parents have to come before their children.
pub struct Archive<W: Write> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// A directory.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, 0o040_755, &[], (0, 0))
    }

    /// A file that anybody may read and run.
    pub fn program(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, 0o100_755, content, (0, 0))
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, 0o120_777, target.as_bytes(), (0, 0))
    }

    /// A character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, 0o020_600, &[], (major, minor))
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[], (0, 0))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], device: (u32, u32)) -> io::Result<()> {
        self.inode += 1;
        let name = format!("{}\0", path.trim_start_matches('/'));
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(name.len()).map_err(io::Error::other)?;
        // inode, mode, uid, gid, links, mtime, size, device (of the file system), device (itself), name size, check
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            // Writing to a string cannot fail.
            let _ = write!(header, "{field:08x}");
        }
        header.push_str(&name);
        self.padded(header.as_bytes())?;
        self.padded(content)
    }

    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; 3][..(4 - bytes.len() % 4) % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_names_and_contents_are_aligned_and_the_trailer_ends_it() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("bin").unwrap();
        archive.program("/bin/x", b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 3);
        // Fixed header of 110 bytes, "bin\0" to 116: the next header follows at once.
        assert_eq!(&bytes[116..122], b"070701");
        assert!(text.contains("bin/x\0") && text.contains("hello\0\0\0") && text.contains("TRAILER!!!"));
    }
}
