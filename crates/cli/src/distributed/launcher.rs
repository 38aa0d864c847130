//! How a launcher starts processes: the variables in the environment of each.

/// The processes that one call of a launcher started, of which this is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The variable that has their number.
    pub variable: &'static str,
    pub processes: usize,
    /// The number of this process, from 0.
    pub rank: usize,
}

const OPEN_MPI: &str = "OMPI_COMM_WORLD_SIZE";

impl Launch {
    /// Reads the variables of `mpirun` and `mpiexec` before those of `srun`, by which they may have
    /// been started. Slurm's number of tasks alone does not count: it is set for the script of
    /// `sbatch`, too, which is one process.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name| variable(name)?.trim().parse::<usize>().ok();
        let by = |size: &'static str, rank| {
            let processes = number(size)?;
            Some(Self { variable: size, processes, rank: number(rank).unwrap_or(0) })
        };
        // Set by `srun` for each step of a job.
        let by_srun = || {
            variable("SLURM_STEP_ID")?;
            let rank = "SLURM_PROCID";
            by("SLURM_STEP_NUM_TASKS", rank).or_else(|| by("SLURM_NTASKS", rank))
        };
        by(OPEN_MPI, "OMPI_COMM_WORLD_RANK").or_else(|| by("PMI_SIZE", "PMI_RANK")).or_else(by_srun)
    }

    /// Whether it is OpenMPI's launcher.
    pub fn is_open_mpi(&self) -> bool {
        self.variable == OPEN_MPI
    }

    /// `4 processes were started together (OMPI_COMM_WORLD_SIZE=4)`.
    fn describe(&self) -> String {
        let Self { variable, processes, .. } = self;
        format!("{processes} processes were started together ({variable}={processes})")
    }

    /// Why a program without MPI is refused.
    #[cfg_attr(feature = "mpi", allow(dead_code, reason = "of the other build, and tested"))]
    pub fn without_mpi(&self) -> String {
        format!(
            "{}, and this program is built without MPI, so that each would do the whole work: \
             build it with cargo build --release -p cli --features mpi, or start it once",
            self.describe()
        )
    }

    /// Why a program that is connected to `size` processes is refused, if it is.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "of the other build, and tested"))]
    pub fn other_size(&self, size: usize, library: &str) -> Option<String> {
        (size != self.processes).then(|| {
            format!(
                "{}, and this program's MPI library, {library}, finds {size}: start it with the \
                 launcher of that library, or build it with the launcher's (MPICC=… names the \
                 compiler wrapper)",
                self.describe()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Option<(&'static str, usize, usize)> {
        let value = |name: &str| {
            variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
        };
        Launch::detect(value).map(|launch| (launch.variable, launch.processes, launch.rank))
    }

    #[test]
    fn launchers_are_known_by_their_variables() {
        assert_eq!(detect(&[]), None);
        let open_mpi = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")];
        assert_eq!(detect(&open_mpi), Some(("OMPI_COMM_WORLD_SIZE", 4, 3)));
        let mpich = [("PMI_SIZE", "2"), ("PMI_RANK", "1"), ("PMI_FD", "6")];
        assert_eq!(detect(&mpich), Some(("PMI_SIZE", 2, 1)));
        assert_eq!(detect(&[("PMI_SIZE", "many")]), None);

        let sbatch = [("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0"), ("SLURM_JOB_ID", "7")];
        assert_eq!(detect(&sbatch), None);
        let srun = [&sbatch[..1], &[("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "5")]].concat();
        assert_eq!(detect(&srun), Some(("SLURM_NTASKS", 8, 5)));
        // A step may have fewer tasks than the job.
        let step = [&srun[..], &[("SLURM_STEP_NUM_TASKS", "6")]].concat();
        assert_eq!(detect(&step), Some(("SLURM_STEP_NUM_TASKS", 6, 5)));
        // OpenMPI starts its daemons with `srun`, one per node.
        let daemons = [&step[..], &open_mpi].concat();
        assert_eq!(detect(&daemons), Some(("OMPI_COMM_WORLD_SIZE", 4, 3)));
    }

    #[test]
    fn refusals_name_the_variable_and_the_way_out() {
        let launch = Launch { variable: "PMI_SIZE", processes: 4, rank: 0 };
        let text = launch.without_mpi();
        assert!(text.contains("PMI_SIZE=4") && text.contains("--features mpi"), "{text}");
        assert_eq!(launch.other_size(4, "OpenMPI"), None);
        let text = launch.other_size(1, "OpenMPI 4.1.4").unwrap();
        assert!(text.contains("OpenMPI 4.1.4, finds 1") && text.contains("MPICC"), "{text}");
    }
}
