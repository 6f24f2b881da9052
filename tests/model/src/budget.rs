//! How many faults may still happen.

macro_rules! budget {
    ($($(#[$about:meta])* $fault:ident),* $(,)?) => {
        /// How often each kind of fault may still happen. Part of the state: what is left is what may come.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct Budget { $($(#[$about])* pub $fault: u8),* }

        impl Budget {
            /// Nothing.
            pub const NONE: Self = Self { $($fault: 0),* };

            /// One more of each fault that is allowed at all.
            pub fn more(mut self) -> Self {
                $(self.$fault += u8::from(self.$fault > 0);)*
                self
            }
        }
    };
}

budget! {
    /// A request is held back, to arrive at any later time or never.
    hold,
    /// A request arrives, its answer is held back, to arrive at any later time or never.
    late,
    /// A request arrives, and once more at any later time.
    duplicate,
    /// The API of everybody changes (up, down, writes refused), or the path of one process is cut or healed.
    api,
    /// The path of one process to the API is cut or healed.
    cut,
    /// The path from the controllers to a juror is cut or healed.
    deaf,
    /// The agent of node 0 is killed, or started.
    agent_crash,
    /// Agent and juror of another node are restarted.
    juror_crash,
    /// A process is stopped (SIGSTOP) or continued.
    pause,
    /// A controller is restarted: sightings and prover are gone.
    controller_crash,
    /// A fencing begins, in any controller, at any time.
    begin,
    /// Evidence from outside the cluster is found.
    evidence,
    /// A remediation lets go of its intent, its session stops.
    let_go,
    /// The machine of node 0 fails and another boot follows.
    boots,
    /// The Node object is made again under the same name.
    recreate,
    /// The agent lease is deleted.
    delete_lease,
    /// The configuration of node 0 changes: other `T`.
    retime,
    /// The roster of node 0 changes: other jury.
    rejury,
    /// A write of the host file fails.
    disk,
    /// The clock of node 0 jumps (the machine lost time).
    jump,
    /// A juror wakes node 0 at any time, with or without a reason.
    wake,
}
