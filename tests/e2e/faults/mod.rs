//! Faults on purpose: each scenario does something to the running server, its disk, its clock or its network, and
//! afterwards it compares what clients were promised with what the server has. `docs/faults.md` lists them.

mod fleet;
mod inject;
mod ledger;

mod disk;
mod limits;
mod network;
mod process;
