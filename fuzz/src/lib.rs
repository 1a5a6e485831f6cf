//! How fuzz targets draw what they send. What they measure the filter by is in `tests/support`.

pub mod draw;
pub mod spelling;
