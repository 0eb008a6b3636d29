//! The few system calls luksmith needs that take unsafe code.
