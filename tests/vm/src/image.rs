//! The guest's whole disk: an initramfs with busybox, the agent, the drivers it needs and one script.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::cpio::Archive;
use crate::device::Device;

/// Where the parts come from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The agent under test, static or with its libraries on this machine.
    pub agent: PathBuf,
    /// A static busybox.
    pub busybox: PathBuf,
    /// An unpacked Debian kernel package.
    pub kernel: PathBuf,
    /// Where the kernel goes that guests boot.
    pub folder: PathBuf,
}

/// Guest network, behind qemu's user-mode router.
pub const ADDRESS: &str = "10.213.0.15";
/// The router.
pub const GATEWAY: &str = "10.213.0.2";
/// The network.
pub const NETWORK: &str = "10.213.0.0/24";

const INIT: &str = include_str!("init.sh");

impl Parts {
    /// The kernel that guests boot: unpacked, so that a translated guest need not do that in every boot (half of the
    /// processor time until its first process). As it is packaged where that cannot be done.
    pub fn kernel_image(&self) -> anyhow::Result<PathBuf> {
        let boot = self.kernel.join("boot");
        let entries = std::fs::read_dir(&boot).with_context(|| boot.display().to_string())?;
        let image = entries.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz"));
        let packed = image.with_context(|| format!("{} holds no vmlinuz", boot.display()))?.path();
        let unpacked = self.folder.join("vmlinux");
        if unpacked.exists() {
            return Ok(unpacked);
        }
        match unpack(&packed, &unpacked) {
            Ok(()) => Ok(unpacked),
            Err(error) => {
                std::fs::remove_file(&unpacked).ok();
                eprintln!("{} is booted as it is packaged, which takes longer: {error:#}", packed.display());
                Ok(packed)
            }
        }
    }

    fn modules(&self) -> anyhow::Result<(String, PathBuf)> {
        let all = self.kernel.join("lib/modules");
        let entries = std::fs::read_dir(&all).with_context(|| all.display().to_string())?;
        let version = entries.flatten().next().with_context(|| format!("{} is empty", all.display()))?;
        Ok((version.file_name().to_string_lossy().into_owned(), version.path().join("kernel")))
    }

    /// Writes the image for one machine.
    ///
    /// `prepare` are lines of shell that run before the agent starts.
    pub fn write(
        &self,
        image: &Path,
        device: Device,
        arguments: &[String],
        prepare: &str,
        kubeconfig: &[u8],
    ) -> anyhow::Result<()> {
        let (version, modules) = self.modules()?;
        let module = |path: &str| read(&modules.join(path));
        let file = File::create(image).with_context(|| image.display().to_string())?;
        let mut archive = Archive::new(BufWriter::new(file));
        for folder in ["bin", "dev", "proc", "sys", "lib", "lib64", "lib/modules", "etc"] {
            archive.directory(folder)?;
        }
        archive.device("dev/console", 5, 1)?;
        archive.program("bin/busybox", &read(&self.busybox)?)?;
        archive.link("bin/sh", "busybox")?;
        // modprobe of busybox looks for the loaded kernel's folder; its dependency file names what may be loaded.
        archive.link("bin/modprobe", "busybox")?;
        archive.directory("sbin")?;
        archive.link("sbin/modprobe", "/bin/busybox")?;
        archive.directory(&format!("lib/modules/{version}"))?;
        archive.program("lib/modules/e1000.ko", &module("drivers/net/ethernet/intel/e1000/e1000.ko")?)?;
        let core = module("drivers/watchdog/watchdog.ko")?;
        let mut load = vec!["e1000"];
        match device {
            Device::I6300esb => {
                archive.program("lib/modules/watchdog.ko", &core)?;
                load.push("watchdog");
                archive.program("lib/modules/i6300esb.ko", &module("drivers/watchdog/i6300esb.ko")?)?;
                load.push("i6300esb");
            }
            // Not loaded here: the agent does that itself when it is allowed to.
            Device::Softdog => {
                archive
                    .program(&format!("lib/modules/{version}/softdog.ko"), &module("drivers/watchdog/softdog.ko")?)?;
            }
        }
        archive.program(&format!("lib/modules/{version}/watchdog.ko"), &core)?;
        archive.program(&format!("lib/modules/{version}/modules.dep"), b"softdog.ko: watchdog.ko\nwatchdog.ko:\n")?;
        archive.program("modules.load", load.join(" ").as_bytes())?;
        archive.program("bin/palisade-agent", &stripped(&self.agent)?)?;
        for library in libraries(&self.agent)? {
            let path = library.to_string_lossy().into_owned();
            let mut parent = String::new();
            for part in library.parent().into_iter().flat_map(Path::iter).skip(1) {
                parent.push('/');
                parent.push_str(&part.to_string_lossy());
                // A second entry for a folder that exists changes nothing.
                archive.directory(&parent)?;
            }
            archive.program(&path, &read(&library)?)?;
        }
        let script = INIT
            .replace("@ADDRESS@", ADDRESS)
            .replace("@GATEWAY@", GATEWAY)
            .replace("@PREPARE@", prepare)
            .replace("@ARGUMENTS@", &arguments.join(" "));
        archive.program("kubeconfig", kubeconfig)?;
        archive.program("init", script.as_bytes())?;
        archive.finish()?;
        Ok(())
    }
}

/// A file of this machine, with its name in the error.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// Takes the kernel out of its self-extracting image.
fn unpack(packed: &Path, unpacked: &Path) -> anyhow::Result<()> {
    /// How a file of xz begins.
    const XZ: &[u8] = b"\xfd7zXZ\0";
    let image = read(packed)?;
    let at = image.windows(XZ.len()).position(|window| window == XZ).context("it is not compressed by xz")?;
    let mut source = File::open(packed)?;
    source.seek(SeekFrom::Start(at as u64))?;
    // What follows the kernel in the image is no xz: not an error with `--single-stream`.
    let status = Command::new("xz")
        .args(["--decompress", "--stdout", "--single-stream"])
        .stdin(source)
        .stdout(File::create(unpacked)?)
        .stderr(Stdio::null())
        .status()
        .context("xz (Debian package xz-utils)")?;
    let mut magic = [0; 4];
    File::open(unpacked)?.read_exact(&mut magic).with_context(|| format!("xz gave nothing ({status})"))?;
    ensure!(magic == *b"\x7fELF", "xz ({status}) gave something else than a kernel");
    Ok(())
}

/// Without debug information a guest under software emulation boots much faster. Without the tool it only takes longer.
fn stripped(program: &Path) -> anyhow::Result<Vec<u8>> {
    let copy = tempfile::NamedTempFile::new()?;
    let stripped = Command::new("strip").arg("-o").arg(copy.path()).arg(program).status();
    if stripped.is_ok_and(|status| status.success()) { read(copy.path()) } else { read(program) }
}

/// Shared libraries of a program on this machine; none for a static one.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let paths: Vec<PathBuf> = text
        .lines()
        .filter(|line| !line.contains("not a dynamic") && !line.contains("statically linked"))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from))
        .filter(|path| path != program)
        .collect();
    for path in &paths {
        ensure!(path.exists(), "{} needs {}, which is not there", program.display(), path.display());
    }
    Ok(paths)
}
