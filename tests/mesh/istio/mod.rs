/// What istiod and its agent make of the manifests.
mod control_plane;

/// A webhook on each kind of proxy: what passes, what does not, what is not touched.
mod routes;

/// A module, a secret, a file that is missing.
mod missing;

/// Bodies, and filters behind that read them.
mod bodies;

/// Updates while requests come.
mod updates;

/// Settings of the mesh: paths, buffers, addresses.
mod settings;

/// Labels of the metrics.
mod metrics;
