//! dialtone-api
