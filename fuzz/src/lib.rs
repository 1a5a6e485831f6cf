//! What the fuzz targets measure the filter by. Nothing here uses the filter's code, but for [`drive`], which only
//! hands it requests: a target that decodes or signs with what it tests finds no mistake in it.

pub mod draw;
pub mod drive;
pub mod reference;
pub mod spelling;
pub mod upstream;
