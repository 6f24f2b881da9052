//! What deploy/monitoring names is what is exported.
