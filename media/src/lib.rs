//! dialtone-media
