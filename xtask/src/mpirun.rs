//! Starting programs under `mpirun`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The way of messages between the ranks of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    SharedMemory,
    /// Over the loopback interface.
    Tcp,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Self::SharedMemory => "shared memory",
            Self::Tcp => "TCP",
        }
    }
}

/// A launcher, and whose it is.
pub struct Launcher {
    program: PathBuf,
    is_open_mpi: bool,
}

impl Launcher {
    /// # Errors
    /// Returns an error if the program cannot be started, or is neither OpenMPI's nor MPICH's.
    pub fn find(program: &Path) -> Result<Self, String> {
        let shown = program.display();
        let output = Command::new(program).arg("--version").output();
        let output = output.map_err(|error| format!("cannot start {shown}: {error}"))?;
        let version = String::from_utf8_lossy(&output.stdout);
        let is_open_mpi = version.contains("Open MPI") || version.contains("OpenRTE");
        if !is_open_mpi && !version.contains("HYDRA") {
            return Err(format!("{shown} --version names neither OpenMPI nor MPICH's Hydra"));
        }
        Ok(Self { program: program.to_owned(), is_open_mpi })
    }

    /// A command that starts the program which is appended to it as `ranks` ranks on this machine,
    /// also more than it has cores, and bound to none.
    pub fn command(&self, ranks: usize, transport: Transport) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-n", &ranks.to_string()]);
        if self.is_open_mpi {
            command.args(["--oversubscribe", "--bind-to", "none"]);
            // It refuses to start programs as root, which everything is in a container.
            command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
            if transport == Transport::Tcp {
                command.args(["--mca", "btl", "tcp,self"]);
            }
        } else if transport == Transport::Tcp {
            command.env("MPIR_CVAR_NOLOCAL", "1").env("FI_PROVIDER", "tcp");
        }
        command
    }
}
