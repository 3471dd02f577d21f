//! Against a registry on loopback that fails as it is told.

#[cfg(test)]
mod client;
#[cfg(test)]
mod fetcher;
