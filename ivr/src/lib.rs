//! dialtone-ivr
