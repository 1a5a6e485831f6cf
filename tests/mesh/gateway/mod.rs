/// What Envoy Gateway makes of the manifests.
mod control_plane;

/// A webhook on a route: what passes, what does not, what is not touched.
mod routes;

/// Settings of the gateway: patches, buffers, paths, addresses, labels.
mod settings;

/// Bodies, and filters behind that read them.
mod bodies;
