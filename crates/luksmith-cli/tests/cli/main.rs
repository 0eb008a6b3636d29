//! The real `luksmith` on real images: answers, exit statuses, messages.

mod data;
mod header;
mod support;
mod unlock;
