//! Feature views, offline and online stores, point-in-time joins and feature serving.
