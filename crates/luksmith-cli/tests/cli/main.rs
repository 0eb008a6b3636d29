//! The real `luksmith` on real images: answers, exit statuses, messages.

mod accepted;
mod change;
mod data;
mod format;
mod header;
mod image;
mod integrity;
mod keys;
mod policy;
mod resize;
mod support;
mod unlock;
