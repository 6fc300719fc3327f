//! Faults on purpose: each scenario does something to the running server, its disk, its clock or its network, and
//! afterwards it compares what clients were promised with what the server has. `docs/faults.md` lists them.
//!
//! `DIALTONE_FAULT_ROUNDS` repeats those that hit a different moment each time; `make test-long` does.

mod fleet;
mod inject;
mod ledger;

mod clock;
mod disk;
mod limits;
mod network;
mod process;
