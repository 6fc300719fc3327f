//! dialtone-store
