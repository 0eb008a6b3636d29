//! The real `luksmith` on real images: answers, exit statuses, messages.

mod header;
mod support;
mod unlock;
