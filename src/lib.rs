//! dialtone
